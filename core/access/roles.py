"""Roles: a ladder. Each may do what those below it may."""

from __future__ import annotations

import enum

from core.errors import InvalidRequest


class Role(enum.IntEnum):
    PREDICT = 1
    LABEL = 2
    TRAIN = 3
    ADMIN = 4

    @property
    def word(self) -> str:
        return self.name.lower()


WORDS = tuple(role.word for role in Role)


def parse_role(text: str) -> Role:
    """Raises InvalidRequest."""
    for role in Role:
        if role.word == text.strip().lower():
            return role
    raise InvalidRequest(f"there is no role {text[:40]!r}; the roles are {', '.join(WORDS)}")
