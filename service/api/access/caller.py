"""The caller of a request, as its route sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request

from core.access.keys import Key
from core.access.roles import Role
from core.audit import Actor
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
    request_id: str | None = None

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

    def actor(self, who: str | None = None) -> Actor:
        """For the audit. `who` is what the request calls itself, where nobody was asked."""
        key_id = None if self.key is None else self.key.id
        return Actor(self.name or who or "anonymous", key_id, self.request_id)


# On this machine, where nobody is asked.
NOBODY = Caller(Role.ADMIN)


async def caller_of(request: Request) -> Caller:
    caller: Caller = request.state.caller  # from `gate.py`; without it no route is reached
    return replace(caller, request_id=request.state.request_id)


CallerDep = Annotated[Caller, Depends(caller_of)]
