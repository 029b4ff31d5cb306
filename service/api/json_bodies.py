"""JSON as other languages write it: in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

What no other parser would read in the same way is refused: a field that comes twice, `NaN`, text
that is not Unicode. Routes then get plain UTF-8.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NamedTuple, NoReturn

from core.errors import BodyTooLarge, InvalidRequest

# It is parsed in the event loop, which the worst takes 0.15 s.
MAX_BYTES = 500_000
# 500 labels of 100 characters, each escaped, are as long.
LARGER = {"/v1/feedback/batch": 1_000_000}
# Inputs of one prediction: they share a response, so the first waits for the last.
MAX_INPUTS = 64
# Where JSON carries inputs: how many of the longest there may be.
_MOST_INPUTS = {
    "/v1/predict": MAX_INPUTS,
    "/predict": 1,
    "/v1/feedback": 1,
    "/v1/feedback/batch": MAX_INPUTS,
}
# Of a character that is escaped.
_CHARACTER_BYTES = 6
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


class Limits(NamedTuple):
    """The most bytes of a body, and of what is beside its strings: they are parsed twenty times as
    fast."""

    whole: int
    others: int


DEFAULT_LIMITS = Limits(MAX_BYTES, MAX_BYTES)


def limits_of(path: str, max_characters: int) -> Limits:
    """Those of a route. `max_characters` is of an input; 0: JSON carries none."""
    others = LARGER.get(path, MAX_BYTES)
    num_characters = _MOST_INPUTS.get(path, 0) * max_characters
    return Limits(others + _CHARACTER_BYTES * num_characters, others)


def to_utf8(body: bytes, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The same JSON in UTF-8. Raises InvalidRequest, BodyTooLarge."""
    if len(body) > limits.whole:
        raise BodyTooLarge(
            f"the body has {len(body):,} bytes of JSON; the limit is {limits.whole:,}; send less "
            "in a request"
        )
    # RFC 8259 gives the parameter `charset` no meaning: the first bytes tell.
    encoding = json.detect_encoding(body)
    try:
        text = body.decode(encoding)
        if len(text) > limits.others:
            _check_others(text, limits.others)
        json.loads(text, object_pairs_hook=_each_once, parse_constant=_refuse)
        return text.encode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"the body is not {encoding.upper()}: byte {error.start:,} is "
            f"0x{body[error.start]:02x}; send JSON in UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        # Some messages end in the word that the place begins with.
        why = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        raise InvalidRequest(
            f"the body is no JSON: {why} at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise InvalidRequest("the body is JSON nested too deeply; send fewer levels") from error
    except ValueError as error:  # of `int`
        raise InvalidRequest("the body has a number of over 4,000 digits; send fewer") from error


def _check_others(text: str, limit: int) -> None:
    num_others = len(_STRING.sub("", text))
    if num_others > limit:
        raise BodyTooLarge(
            f"the body has {num_others:,} characters of JSON beside its strings; the limit is "
            f"{limit:,}; send less in a request"
        )


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise InvalidRequest(f"the body has the field {twice[:40]!r} twice; send it once")
    return found


def _refuse(constant: str) -> NoReturn:
    raise InvalidRequest(
        f"the body has {constant}, which is no JSON; send a number or leave it out"
    )
