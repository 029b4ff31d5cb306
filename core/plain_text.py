"""Plain text: who gave a label or promotion, and why, fit for every database and log line."""

from __future__ import annotations

import unicodedata

from core.errors import InvalidRequest

MAX_WHO_CHARACTERS = 100
MAX_WHY_CHARACTERS = 10_000


def check_plain(name: str, text: str, max_characters: int) -> None:
    """Allow line breaks and tabs, no other control character. Raises InvalidRequest."""
    if len(text) > max_characters:
        raise InvalidRequest(
            f"`{name}` has {len(text):,} characters; the limit is {max_characters:,}"
        )
    # PostgreSQL refuses NUL, and a lone surrogate is not UTF-8.
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in text):
        raise InvalidRequest(f"`{name}` holds a control character; send plain text")
