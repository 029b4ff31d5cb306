"""The fuzz targets take their seeds and damaged copies of them, and find a fault."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from starlette.responses import PlainTextResponse

from core.inputs.pixels import picture
from tests.fuzz import http
from tests.fuzz.__main__ import TARGETS, load

NUM_DAMAGED = 1


def damaged(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(3):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randrange(1, len(changed) + 1)])


@pytest.fixture(scope="module", autouse=True)
def _stopped() -> Iterator[None]:
    yield
    http.stop()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_damaged_seeds_have_no_fault(name: str) -> None:
    target, chance = load(name), random.Random(0)
    for seed in target.seeds():
        target.check(seed)
        for _ in range(NUM_DAMAGED):
            target.check(damaged(seed, chance))


def test_error_that_is_not_documented_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture.formats, "describe", lambda image: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load("images").check(b"no image")


@pytest.mark.parametrize("status", [500, 422])
def test_answer_with_500_or_without_a_code_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    loop, _ = http.started()
    answer = PlainTextResponse("{}", status, media_type="application/json")
    monkeypatch.setattr(http, "started", lambda: (loop, answer))
    with pytest.raises(AssertionError):
        http.check(b"GET /v1/status\n\n")
