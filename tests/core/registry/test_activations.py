from __future__ import annotations

import pytest

from core.registry import activations
from core.store.store import Store
from tests.support import tiny


@pytest.mark.parametrize(
    ("moves", "before"),
    [
        ([], None),
        ([1], None),
        ([1, 1], None),
        ([1, 2], 1),
        ([1, 2, 3], 2),
        ([1, 2, 3, 2], 1),  # a rollback of it goes further back, not forth
        ([1, 2, 3, 2, 1], None),
        ([1, 2, 3, 2, 4], 2),
        ([1, 2, 3, 1], None),
        ([1, 2, 3, 1, 3], 1),
        ([1, 2, 2], 1),
        ([3, 1, 2], 1),
    ],
)
def test_rollback_goes_to_the_champion_before(
    store: Store, moves: list[int], before: int | None
) -> None:
    for _ in range(4):
        tiny.publish(store)
    for version in moves:
        tiny.activate(store, version)
    with store.db.read() as conn:
        assert activations.version_before(conn) == before
        chain = activations.versions_before(conn, 10)
    assert chain[:1] == ([] if before is None else [before])


def test_newest_label_before_is_of_earlier_champions(store: Store) -> None:
    numbers = [tiny.publish(store, tiny.plain_manifest(snapshot=n)) for n in (5, 9, 20)]
    first, second = (tiny.activate(store, number) for number in numbers[:2])
    third = tiny.activate(store, numbers[0])
    with store.db.read() as conn:
        assert [
            activations.newest_label_before(conn, each.id) for each in (first, second, third)
        ] == [
            0,
            5,
            9,
        ]
