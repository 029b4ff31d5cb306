"""Read inputs for commands: files, standard input, or the lines of either, with the size limit of
HTTP."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core.errors import BodyTooLarge, InputError, InvalidRequest
from core.inputs.kind import InputKind
from core.settings import Settings

#: Names standard input.
STDIN = Path("-")


def read_input(path: Path, settings: Settings, kind: InputKind) -> bytes:
    """Return the bytes of the file. Raises InvalidRequest, BodyTooLarge."""
    limit = settings.max_body_bytes
    if path != STDIN and not is_file(path):
        what = "is not a file" if _exists(path) else "does not exist"
        raise InvalidRequest(
            f"{path} {what}; name a file of one {kind.noun}, or - for standard input"
        )
    try:
        with opened(path) as file:
            content = file.read(limit + 1)
            if len(content) <= limit:
                return content
            num_bytes = "more" if path == STDIN else f"{path.stat().st_size:,}"
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error
    raise BodyTooLarge(
        f"{path} has {num_bytes} bytes; the limit is {limit:,}; take a smaller one, or raise "
        "EVERGREEN_MAX_BODY_MB"
    )


def read_lines(path: Path, settings: Settings, kind: InputKind) -> Iterator[tuple[str, bytes]]:
    """Each line that is not blank, with its place. Raises InvalidRequest, BodyTooLarge."""
    check_characters(kind, "--lines")
    limit = settings.max_body_bytes
    if path != STDIN and not is_file(path):
        raise InvalidRequest(
            f"{path} is not a file; name one with a {kind.noun} on each line, or -"
        )
    with opened(path) as file:
        number = 0
        while line := file.readline(limit + 1):
            number += 1
            if len(line) > limit:
                raise BodyTooLarge(f"{path}:{number} has more than {limit:,} bytes, the limit")
            if line.strip():
                yield f"{path}:{number}", line.rstrip(b"\r\n")


def check_characters(kind: InputKind, option: str) -> None:
    """Raises InvalidRequest if an input is no string of characters, as an image is."""
    if kind.wire.json_field is None:
        raise InvalidRequest(
            f"{option} is for texts, and this home classifies {kind.plural}; name files, or "
            "another home with EVERGREEN_HOME"
        )


def to_bytes(text: str, kind: InputKind) -> bytes:
    """The bytes of a text of the command line, as the shell gave them. Raises InvalidRequest."""
    check_characters(kind, "--text")
    return text.encode(errors="surrogateescape")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    if path == STDIN:
        yield sys.stdin.buffer
        return
    with path.open("rb") as file:
        yield file


def is_file(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):  # too long for a name, or with NUL
        return path.is_file()
    return False


@contextlib.contextmanager
def naming(name: Path | str) -> Iterator[None]:
    """Add the name of an input to the message of an input error."""
    try:
        yield
    except InputError as error:
        if str(name) in str(error):
            raise
        raise type(error)(f"{name}: {error}") from error


def _exists(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return path.exists()
    return False
