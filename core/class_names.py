"""Names of classes: their display form, and the identity that all spellings of a name share.

`Disc`, `disc` and `disc` with a variation selector name one class. The identity compares names, and
is never shown. `core/labelling/classes.py` stores the display form of each identity.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable

from core.errors import InvalidLabel

MAX_LABEL_CHARACTERS = 100
# The label of an image that is in no class. It is never trained on, counts for no figure of a
# version but `unfamiliar`, and serves there as a known unknown. Every spelling becomes this one.
NONE_OF_THESE = "none of these"
_JOINER = "\u200d"
_VARIATION_SELECTORS = frozenset(map(chr, range(0xFE00, 0xFE10)))
# Unicode counts them as letters, marks or symbols, and fonts draw nothing.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_REMEDY = "type the label anew instead of pasting it"


def normalise(label: str) -> str:
    """Return the display form: Unicode form NFC, with single spaces. Every spelling of
    `NONE_OF_THESE` becomes that. Raises InvalidLabel."""
    cleaned = unicodedata.normalize("NFC", label).strip()
    if all(_is_invisible(c) or unicodedata.category(c) == "Zs" for c in cleaned):
        raise InvalidLabel("the label is empty; send the name of a class, such as 'cat'")
    if len(cleaned) > MAX_LABEL_CHARACTERS:
        raise InvalidLabel(
            f"the label has {len(cleaned):,} characters; the limit is {MAX_LABEL_CHARACTERS}; "
            "send the name of a class, such as 'cat'"
        )
    _check_visible(cleaned)
    spaced = " ".join(cleaned.split())
    return spaced if is_class(spaced) else NONE_OF_THESE


@functools.lru_cache(maxsize=10_000)
def identity(label: str) -> str:
    """Return what all spellings of a name share. Two names are one class if theirs are equal.

    Unicode's compatibility caseless matching (definition D146), without invisible characters, and
    with single spaces.
    """
    spaced = " ".join(label.split())
    visible = "".join(c for c in spaced if not (_is_control(c) or _is_invisible(c)))
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", visible).casefold())
    folded = unicodedata.normalize("NFKC", folded.casefold())
    return " ".join(folded.split())


def is_same(one: str, other: str) -> bool:
    """Whether two names are of one class."""
    return one == other or identity(one) == identity(other)


def is_class(label: str) -> bool:
    """Whether a label names a class, which no spelling of `NONE_OF_THESE` does."""
    return not is_same(label, NONE_OF_THESE)


def known_among(names: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    """Return those of `names` that are spellings of a class in `known`."""
    identities = set(map(identity, known))
    return frozenset(name for name in names if identity(name) in identities)


def _check_visible(label: str) -> None:
    for i, c in enumerate(label):
        code = f"U+{ord(c):04X}"
        if _is_control(c):
            raise InvalidLabel(
                f"the label holds a control character, {code}; send plain text, such as 'cat'"
            )
        if c in _VARIATION_SELECTORS or not _is_invisible(c):
            continue
        if c == _JOINER and _is_picture(label[i - 1 : i]) and _is_picture(label[i + 1 : i + 2]):
            continue  # as in an emoji of several
        name = unicodedata.name(c, "unnamed")
        raise InvalidLabel(f"the label holds an invisible character, {code} {name}; {_REMEDY}")


def _is_control(c: str) -> bool:
    return unicodedata.category(c) in ("Cc", "Cs", "Co")


def _is_invisible(c: str) -> bool:
    return unicodedata.category(c) == "Cf" or c in _VARIATION_SELECTORS or c in _BLANKS


def _is_picture(c: str) -> bool:
    return c in _VARIATION_SELECTORS or (c != "" and unicodedata.category(c) in ("So", "Sk"))
