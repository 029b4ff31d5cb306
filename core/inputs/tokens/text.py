"""The bytes of a text -> str, or a refusal that says where it is wrong.

Training, serving, embedding and evaluation all call `read`, so their texts cannot differ. A message
quotes nothing of the text. Offsets count from 0.
"""

from __future__ import annotations

import re
import unicodedata

from core.errors import TextTooLong, UndecodableText
from core.inputs.kind import DEFAULT_LIMITS, Limits

_BOM = b"\xef\xbb\xbf"
# UTF-32 before UTF-16, because the mark of one begins with that of the other.
_OTHER_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
# The Unicode category Cc, without tab, newline and carriage return.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Formats such as a zero-width space, and separators of lines and paragraphs.
_BLANK_CATEGORIES = ("Cf", "Zl", "Zp", "Zs")


def read(content: bytes, limits: Limits = DEFAULT_LIMITS) -> str:
    """Decode UTF-8, without byte order marks at its start. Raises UndecodableText, TextTooLong."""
    for mark, name in _OTHER_MARKS:
        if content.startswith(mark):
            raise UndecodableText(
                f"the text is {name}, by the byte order mark at its start; send it as UTF-8"
            )
    num_left_out = _num_mark_bytes(content)
    try:
        text = content[num_left_out:].decode()
    except UnicodeDecodeError as error:
        raise UndecodableText(_why_not_utf_8(content, num_left_out + error.start)) from error
    check(text, limits)
    return text


def check(text: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raises UndecodableText, TextTooLong."""
    if len(text) > limits.max_characters:
        raise TextTooLong(
            f"the text has {len(text):,} characters; the limit is {limits.max_characters:,}; send "
            "a shorter one, or raise EVERGREEN_MAX_CHARACTERS on the server"
        )
    if found := _CONTROL.search(text):
        raise UndecodableText(_why_control(found[0], found.start()))
    if all(_is_blank(character) for character in text):
        what = f"has nothing but {len(text):,} blank characters" if text else "is empty"
        raise UndecodableText(f"the text {what}; send at least one word")


def to_bytes(text: str) -> bytes:
    """The bytes of a text that came as characters, of JSON say. Raises UndecodableText."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UndecodableText(
            f"the text has a lone surrogate (U+{ord(text[error.start]):04X}) at character offset "
            f"{error.start:,}, which is half of a character; send whole characters"
        ) from error


def without_mark(content: bytes) -> bytes:
    """What is stored of a text: what was sent, without byte order marks at its start.

    Bytes that are not UTF-8 are left as they are.
    """
    if not content.startswith(_BOM):
        return content
    try:
        content.decode()
    except UnicodeDecodeError:
        return content
    return content[_num_mark_bytes(content) :]


def _num_mark_bytes(content: bytes) -> int:
    # More than one happens where files were joined. To drop all of them keeps what is stored the
    # same when it is sent again.
    num_bytes = 0
    while content.startswith(_BOM, num_bytes):
        num_bytes += len(_BOM)
    return num_bytes


def _why_not_utf_8(content: bytes, offset: int) -> str:
    # UTF-8 would have U+D800 to U+DFFF as ED A0 80 to ED BF BF, and forbids them.
    if content[offset : offset + 1] == b"\xed" and content[offset + 1 : offset + 2] >= b"\xa0":
        return (
            f"the text has a surrogate at byte offset {offset:,}, which is half of a character; "
            "send whole characters as UTF-8"
        )
    return (
        f"the text is not UTF-8: the byte at offset {offset:,} of {len(content):,} does not fit; "
        "save it as UTF-8 and send it again"
    )


def _why_control(character: str, offset: int) -> str:
    place = f"at character offset {offset:,}"
    if character == "\0":
        return (
            f"the text has a NUL {place}, as UTF-16 and files that are no text have; send plain "
            "text as UTF-8"
        )
    return (
        f"the text has the control character U+{ord(character):04X} {place}; only tab, newline and "
        "carriage return are allowed; remove it"
    )


def _is_blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in _BLANK_CATEGORIES
