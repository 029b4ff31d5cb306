"""Which columns of a table have the texts and the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import InvalidRequest
from core.exchange.reading.source_file import shown

TEXT, LABEL, SPLIT = "text", "label", "split"
MAX_NAME_CHARACTERS = 200
_MAX_LISTED = 30


@dataclass(frozen=True, slots=True)
class Columns:
    """The names as a person gave them. Empty: the columns called `text` and `label`."""

    text: str = ""
    label: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def wished_text(self) -> str:
        return self.text or TEXT

    @property
    def wished_label(self) -> str:
        return self.label or LABEL

    def has_both(self, header: Sequence[str]) -> bool:
        return all(_places(header, name) for name in (self.wished_text, self.wished_label))

    def find(self, header: Sequence[str], name: str) -> tuple[int, int, int | None]:
        """The places of the text, the label and the split, which a table may lack.

        Raises InvalidRequest, which lists the columns.
        """
        text_at = self._one(header, self.wished_text, "--text", name)
        label_at = self._one(header, self.wished_label, "--label", name)
        if text_at == label_at:
            raise InvalidRequest(
                f"the column {shown(self.wished_text, 60)!r} cannot be the text and the label; "
                f"{_listed(header, name)}"
            )
        split = _places(header, SPLIT)
        return text_at, label_at, split[0] if split else None

    def _one(self, header: Sequence[str], wished: str, option: str, name: str) -> int:
        found = _places(header, wished)
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} columns called" if found else "no column"
        raise InvalidRequest(
            f"{shown(name)} has {what} {shown(wished, 60)!r}; {_listed(header, name)}; name the "
            f"right one with {option}, or with {option.strip('-')}= in an upload"
        )


DEFAULT = Columns()


def _places(header: Sequence[str], wished: str) -> list[int]:
    """As it is spelled, or else without regard to case and to spaces around it."""
    exact = [at for at, name in enumerate(header) if name == wished]
    if exact:
        return exact
    folded = wished.strip().casefold()
    return [at for at, name in enumerate(header) if name.strip().casefold() == folded]


def _listed(header: Sequence[str], name: str) -> str:
    names = ", ".join(repr(shown(each, 40)) for each in header[:_MAX_LISTED])
    more = f" and {len(header) - _MAX_LISTED:,} more" if len(header) > _MAX_LISTED else ""
    return f"its columns are {names}{more}" if names else "its first line names no columns"
