"""Near-duplicate fingerprints: which texts are copies of one text.

Texts that differ in case, spaces and punctuation only are near-duplicates, and so are longer ones
that differ in a word or two. `core/labelling/examples.py` finds candidates by `bands`.

MinHash: A. Broder, "On the Resemblance and Containment of Documents", 1997; a byte of each minimum:
P. Li & A. C. König, "b-Bit Minwise Hashing", WWW 2010. The library datasketch has both, and takes
0.7 s and 57 MB of every worker to import, because it brings scipy along.

N shingles of a text; K hash functions.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Container
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.inputs.kind import Limits
from core.inputs.tokens import text as texts

# A shingle is five characters in a row, of the text without spaces and punctuation. Shares of
# common shingles over 400 texts each, the 2nd percentile of copies and the 99th of others:
#                                              5 characters   2 words
#   8 words, one of them with a typo               0.68         0.60
#   30 words, one of them replaced                 0.82         0.85
#   30 words, two of them replaced                 0.70         0.74
#   5 to 8 words of one template, others in it     0.61         0.64
# So typos in short texts stand out from other words. Texts without spaces between words, such as
# Chinese, need no rule of their own.
_SHINGLE = 5
# Near are all copies with one other word in 30, 98 % of those with two, 94 % of those with a typo
# in 8 words and 36 % of those with another word in 8. Of texts with other words in one template of
# 8 to 16 words, 0 to 2 % of pairs are. With a share of 0.6 it is up to 12 %, which chains a whole
# template to one group.
MIN_SHARE = 0.68
# The standard error of a share of 0.7 is 0.03.
_NUM_HASHES = 240
_DIGEST_BYTES = 8
# Two bytes make a band. 97 % of copies with two other words in 30 have one of four in common, and
# 0.1 % of pairs of different texts.
_BAND_BYTES = 2
# Of a longer text, those with the least hashes stand for all, which are the same ones in a copy. It
# bounds the work: 20,000 characters took 54 ms with all of theirs, and take 4 ms.
_MAX_SHINGLES = 2_048
# NFKC makes up to 18 characters of one. What follows is left to the digest.
_MAX_CHARACTERS = 20_000
_CHUNK = 512
# Neither is in a text, which has no control characters.
_BEGIN, _END = "\x02", "\x03"

# The raw bit stream is the same on every machine and in every release of numpy (NEP 19).
_RAW = np.random.PCG64(27).random_raw(2 * _NUM_HASHES).astype(np.uint64)
_FACTORS_K1 = _RAW[:_NUM_HASHES, None] | np.uint64(1)
_OFFSETS_K1 = _RAW[_NUM_HASHES:, None]
_BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class TextFingerprint:
    """`thumb` is a digest of the normalised text, 8 bytes, and its MinHash signature, 240."""

    thumb: bytes

    @property
    def bands(self) -> tuple[int, int, int, int]:
        """The first bytes of the signature, as four numbers of 16 bits."""
        signature = self.thumb[_DIGEST_BYTES:]
        a, b, c, d = (
            int.from_bytes(signature[at : at + _BAND_BYTES], "little")
            for at in range(0, 4 * _BAND_BYTES, _BAND_BYTES)
        )
        return a, b, c, d

    def is_near(self, thumb: bytes) -> bool:
        """The thumb of an erased example is empty, and near to nothing."""
        if len(thumb) != len(self.thumb):
            return False
        if thumb[:_DIGEST_BYTES] == self.thumb[:_DIGEST_BYTES]:
            return True
        a_K = np.frombuffer(thumb, np.uint8, offset=_DIGEST_BYTES)
        b_K = np.frombuffer(self.thumb, np.uint8, offset=_DIGEST_BYTES)
        return int(np.count_nonzero(a_K == b_K)) >= MIN_SHARE * _NUM_HASHES


def fingerprint(content: bytes, limits: Limits) -> TextFingerprint:
    """Raises as `text.read` does."""
    normalised = normalise(texts.read(content, limits))
    digest = hashlib.blake2b(normalised.encode(), digest_size=_DIGEST_BYTES).digest()
    return TextFingerprint(digest + _signature(normalised))


def normalise(text: str) -> str:
    """Fold case and compatible characters (NFKC), and leave out spaces and punctuation.

    A text of punctuation alone keeps it.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _without(folded, "PZC") or _without(folded, "ZC")


def _without(text: str, categories: Container[str]) -> str:
    return "".join(c for c in text if unicodedata.category(c)[0] not in categories)


def _signature(normalised: str) -> bytes:
    hashes_N = _least(_hashes(f"{_BEGIN}{normalised[:_MAX_CHARACTERS]}{_END}"))
    least_K = np.full(_NUM_HASHES, np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(hashes_N), _CHUNK):
        values_KN = _FACTORS_K1 * hashes_N[start : start + _CHUNK]
        values_KN += _OFFSETS_K1
        np.minimum(least_K, values_KN.min(axis=1), out=least_K)
    return (_mixed(least_K) >> np.uint64(56)).astype(np.uint8).tobytes()


def _hashes(text: str) -> NDArray[np.uint64]:
    """Of every shingle, or of the whole text where it is shorter than one."""
    code_points = np.frombuffer(text.encode("utf-32-le"), "<u4").astype(np.uint64)
    size = min(_SHINGLE, len(code_points))
    num = len(code_points) - size + 1
    hashes_N = np.zeros(num, np.uint64)
    for at in range(size):
        hashes_N = hashes_N * _BASE + code_points[at : at + num]
    return _mixed(hashes_N)


def _least(hashes_N: NDArray[np.uint64]) -> NDArray[np.uint64]:
    if len(hashes_N) <= _MAX_SHINGLES:
        return hashes_N
    sorted_N = np.sort(hashes_N)
    is_new_N = np.ones(len(sorted_N), np.bool_)
    is_new_N[1:] = sorted_N[1:] != sorted_N[:-1]
    least_N: NDArray[np.uint64] = sorted_N[is_new_N][:_MAX_SHINGLES]
    return least_N


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64 (G. Steele, D. Lea & C. Flood, OOPSLA 2014). Arithmetic is modulo 2^64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
