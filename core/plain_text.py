"""Plain text: who gave a label or promotion, and why, fit for every database and log line."""

from __future__ import annotations

import unicodedata

from core.errors import InvalidRequest

MAX_WHO_CHARACTERS = 100
MAX_WHY_CHARACTERS = 10_000
# Who the service itself is, in labels and promotions.
RESERVED_NAMES = frozenset({"self-healing", "trainer", "evergreen", "command line"})


def check_plain(name: str, text: str, max_characters: int) -> None:
    """Allow line breaks and tabs, no other control character. Raises InvalidRequest."""
    if len(text) > max_characters:
        raise InvalidRequest(
            f"`{name}` has {len(text):,} characters; the limit is {max_characters:,}"
        )
    # PostgreSQL refuses NUL, and a lone surrogate is not UTF-8.
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text):
        raise InvalidRequest(f"`{name}` holds a control character; send plain text")


def check_who(who: str) -> str:
    """Return the name of a client. Raises InvalidRequest if the service itself has it."""
    check_plain("who", who, MAX_WHO_CHARACTERS)
    if who.strip().casefold() in RESERVED_NAMES:
        raise InvalidRequest(f"`who` is {who!r}, a name of the service itself; send another one")
    return who


def check_name(what: str, name: str, max_characters: int) -> None:
    """Allow one line that a person can read. Raises InvalidRequest."""
    if not name.strip() or name != name.strip() or not name.isprintable():
        raise InvalidRequest(f"{what} is {name[:100]!r}; write printable text, no spaces around it")
    if len(name) > max_characters:
        raise InvalidRequest(f"{what} has {len(name):,} characters; the limit is {max_characters}")
    if name.casefold() in RESERVED_NAMES | {"anonymous"}:
        raise InvalidRequest(f"{what} is {name!r}, which the service itself uses; choose another")
