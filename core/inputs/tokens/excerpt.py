"""The beginning of a text, for lists and thumbnails."""

from __future__ import annotations

MAX_CHARACTERS = 300
_ELLIPSIS = "…"
# Runs of spaces become one. So many characters are looked at, however many of them are spaces.
_MAX_READ = 4 * MAX_CHARACTERS
# A cut falls on a space, unless the last word would take more than this share with it.
_MAX_LOST = 1 / 3


def shorten(text: str) -> str:
    """Return one line of at most MAX_CHARACTERS, the ellipsis at its end included."""
    words = text[:_MAX_READ].split()
    line = " ".join(words)
    is_whole = not text[_MAX_READ:].strip()
    if is_whole and len(line) <= MAX_CHARACTERS:
        return line
    kept = line[: MAX_CHARACTERS - len(_ELLIPSIS)]
    cut = kept.rfind(" ") if len(line) > len(kept) else len(kept)
    if cut >= (1 - _MAX_LOST) * len(kept):
        kept = kept[:cut]
    return kept + _ELLIPSIS
