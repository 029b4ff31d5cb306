"""The caller of a request, as its route sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from core.access.keys import Key
from core.access.roles import Role
from core.errors import InvalidRequest
from core.plain_text import check_who


@dataclass(frozen=True, slots=True)
class Caller:
    role: Role
    # Null: nobody was asked.
    name: str | None = None
    key: Key | None = None
    # By a cookie that stands for the key.
    is_signed_in: bool = False

    @property
    def idempotency_scope(self) -> str:
        """Its idempotency keys are its own."""
        if self.key is not None:
            return f"key {self.key.id}"
        return "" if self.name is None else f"user {self.name}"

    def who(self, given: str | None) -> str:
        """The author of what the request does. Raises InvalidRequest if it gives another one."""
        if self.name is None:
            return check_who(given or "anonymous")
        if given not in (None, self.name):
            raise InvalidRequest(
                f"`who` is {given[:100]!r}, but it is the name of the key, {self.name!r}; "
                "leave it out"
            )
        return self.name


# On this machine, where nobody is asked.
NOBODY = Caller(Role.ADMIN)


async def caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller  # from `gate.py`; without it no route is reached
    return caller


CallerDep = Annotated[Caller, Depends(caller_of)]
