"""Read an image file, with the same size limit as HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from core.errors import BodyTooLarge, InputError, InvalidRequest
from core.settings import Settings


def read_image(path: Path, settings: Settings) -> bytes:
    """Return the bytes of the file. Raises InvalidRequest, BodyTooLarge."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise InvalidRequest(f"{path} {what}; name an image file")
    try:
        num_bytes = path.stat().st_size
        if num_bytes > settings.max_body_bytes:
            raise BodyTooLarge(
                f"{path} has {num_bytes:,} bytes; the limit is {settings.max_body_bytes:,}; "
                "take a smaller copy, or raise EVERGREEN_MAX_BODY_MB"
            )
        return path.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the path to the message of an input error."""
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error
