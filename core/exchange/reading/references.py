"""References of a label file to images beside it. Nothing is fetched, from wherever."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, unquote, urlsplit

from core.exchange.reading.source_file import SourceFile

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
_UPLOAD = re.compile(r"^/?data/upload/")
_LOCAL = re.compile(r"^/?data/local-files/?\?")
# Label Studio puts it before the name of an uploaded file.
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")


class BadReference(Exception):
    """The text says why."""


class References:
    def __init__(self, files: Sequence[SourceFile], label_file: SourceFile) -> None:
        """References are relative to the folder of the label file."""
        self._folder = label_file.parts[:-1]
        self._exact = {file.parts: file for file in files}
        self._by_name: dict[str, list[SourceFile]] = defaultdict(list)
        for file in self._exact.values():
            self._by_name[file.parts[-1]].append(file)

    def find(self, text: str) -> SourceFile:
        """Raises BadReference."""
        for parts in _candidates(text):
            if file := self._exact.get(self._folder + parts) or self._exact.get(parts):
                return file
            named = self._by_name.get(parts[-1], [])
            found = [file for file in named if file.parts[-len(parts) :] == parts]
            if len(found) > 1:
                raise BadReference("several files of the import end with this path")
            if found:
                return found[0]
        raise BadReference("no such file in the import")


def _candidates(text: str) -> Iterator[tuple[str, ...]]:
    """The paths that a reference may mean, most literal first."""
    text = text.strip()
    if _LOCAL.match(text):
        text = next(iter(parse_qs(urlsplit(text).query).get("d", [""])))
        yield _parts(text)
        return
    if _UPLOAD.match(text):
        parts = _parts(unquote(_UPLOAD.sub("", text)))
        yield parts
        yield (parts[-1],)
        yield (_UPLOAD_PREFIX.sub("", parts[-1]),)
        return
    parts = _parts(text)
    yield parts
    unquoted = _parts(unquote(text))
    if unquoted != parts:
        yield unquoted


def _parts(text: str) -> tuple[str, ...]:
    if not text:
        raise BadReference("it names no image")
    if _URL.match(text) or text.startswith(("//", "\\\\")):
        raise BadReference("an address, which is never fetched; put the image beside the labels")
    if text.startswith(("/", "\\")):
        raise BadReference("an absolute path; put the image beside the labels")
    parts = tuple(part for part in re.split(r"[/\\]", text) if part not in ("", "."))
    if ".." in parts:
        raise BadReference("a path that leads out of the import")
    if not parts:
        raise BadReference("it names no image")
    return parts
