"""The texts that the speed benches send, made in memory and equal on every machine.

They are support tickets: most with one or two sentences, some with about 60 words, and one in
twenty with about 200 words, which is near the limit of tokens.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.support.tickets import tickets

_NUM_TEXTS = 200
# How many tickets one text is made of, each as often as it is here in twenty.
_NUM_JOINED = (*[1] * 14, *[2] * 3, *[4] * 2, 14)


@dataclass(frozen=True, slots=True)
class Text:
    content: bytes
    content_type: str = "text/plain; charset=utf-8"


def make_texts() -> tuple[Text, ...]:
    """Make distinct texts, shuffled."""
    counts = [_NUM_JOINED[i % len(_NUM_JOINED)] for i in range(_NUM_TEXTS)]
    random.Random(0).shuffle(counts)
    sentences = (ticket.text for ticket in tickets(sum(counts)))
    return tuple(Text(" ".join(next(sentences) for _ in range(n)).encode()) for n in counts)


def describe(texts: tuple[Text, ...]) -> str:
    words = sorted(len(text.content.split()) for text in texts)
    middle, many = words[len(words) // 2], words[len(words) * 95 // 100]
    return f"{len(texts)} texts of {words[0]} to {words[-1]} words, p50 {middle}, p95 {many}"
