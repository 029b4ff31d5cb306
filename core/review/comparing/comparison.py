"""Compare two versions on the same held-out examples: overall, by class, and which flipped.

Suffixes: N examples, C all classes that a label or a version names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from core.review.comparing import paired_tests
from core.review.comparing.confusion import ClassIndex, Ints, Shown, shown
from core.review.comparing.paired_tests import Comparison
from core.review.comparing.version_scores import MAX_EXAMPLES, HeldOut, VersionScores
from core.store.schema import examples
from core.store.tables.tallies import current_labels

#: The flips that are listed, and the classes; the others are counted.
MAX_FLIPS = 1_000
MAX_CLASSES = 1_000
# Below SQLite's limit on the parameters of a statement.
_IDS = 500


@dataclass(frozen=True, slots=True)
class Flip:
    """An example that only one of the two versions got right."""

    example_id: int
    label: str
    before: str
    after: str
    is_mended: bool


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """Intervals are at 95 %."""

    before: int
    after: int
    # Held-out examples of a class that either knows, of which an embedding is missing.
    num_not_embedded: int
    overall: Comparison
    # By label, by name: those with the most examples.
    by_class: dict[str, Comparison]
    shown: Shown
    before_KK: Ints
    after_KK: Ints
    # Worst first: broken ones, then mended ones, by how much the label lost.
    flips: tuple[Flip, ...]
    num_flips: int


def difference(held_out: HeldOut, before: VersionScores, after: VersionScores) -> Difference:
    """Compare them on the held-out examples of each class that either knows."""
    index = ClassIndex()
    all_label_N = index.numbers(held_out.names)[held_out.label_N]
    class_numbers = [index.numbers(each.classes) for each in (before, after)]
    is_known_N = np.isin(all_label_N, np.concatenate(class_numbers))
    is_judged_N = is_known_N & (before.predicted_N >= 0) & (after.predicted_N >= 0)
    label_N = all_label_N[is_judged_N]
    old_N, new_N = (
        numbers[each.predicted_N[is_judged_N]]
        for numbers, each in zip(class_numbers, (before, after), strict=True)
    )
    was_right_N, is_right_N = old_N == label_N, new_N == label_N
    gain_N = (after.label_probability_N - before.label_probability_N)[is_judged_N]
    flipped_N = np.flatnonzero(was_right_N != is_right_N)
    worst_first = flipped_N[np.lexsort((gain_N[flipped_N], is_right_N[flipped_N]))]
    example_id_N = held_out.example_id_N[is_judged_N]
    names = index.names
    flips = tuple(
        Flip(
            int(example_id_N[i]),
            names[label_N[i]],
            names[old_N[i]],
            names[new_N[i]],
            bool(is_right_N[i]),
        )
        for i in worst_first[:MAX_FLIPS]
    )
    shows = shown(index, label_N, [old_N, new_N])
    return Difference(
        before.version,
        after.version,
        int(np.count_nonzero(is_known_N)) - len(label_N),
        paired_tests.compare(was_right_N, is_right_N),
        _by_class(index, label_N, was_right_N, is_right_N),
        shows,
        shows.matrix(label_N, old_N),
        shows.matrix(label_N, new_N),
        flips,
        len(flipped_N),
    )


def _by_class(
    index: ClassIndex,
    label_N: Ints,
    was_right_N: NDArray[np.bool_],
    is_right_N: NDArray[np.bool_],
) -> dict[str, Comparison]:
    count = paired_tests.count_classes(label_N, was_right_N, is_right_N, len(index.names))
    order = np.argsort(-count.n_K, kind="stable")[:MAX_CLASSES]
    kept = order[count.n_K[order] > 0]
    low, high = paired_tests.intervals(count.b_K[kept], count.c_K[kept], count.n_K[kept])
    pairs = {
        index.names[k]: Comparison(
            n=int(count.n_K[k]),
            b=int(count.b_K[k]),
            c=int(count.c_K[k]),
            champion_right=int(count.before_K[k]),
            challenger_right=int(count.after_K[k]),
            low=float(low[i]),
            high=float(high[i]),
        )
        for i, k in enumerate(kept)
    }
    return dict(sorted(pairs.items()))


def images_of(conn: Connection, example_ids: Sequence[int]) -> dict[int, str]:
    """The SHA-256 of the image of each example that has a label now. Erased ones have none."""
    found: dict[int, str] = {}
    for start in range(0, len(example_ids), _IDS):
        rows = conn.execute(
            select(examples.c.id, examples.c.image)
            .join(current_labels, current_labels.c.example_id == examples.c.id)
            .where(examples.c.id.in_(example_ids[start : start + _IDS]))
        )
        found.update((row.id, row.image) for row in rows)
    return found


def describe_coverage(
    held_out: HeldOut,
    num_judged: int,
    num_left_out: int,
    scores: Sequence[VersionScores],
    why_left_out: str,
) -> str | None:
    """What a reader must know of the examples that were judged. None: nothing."""
    found = []
    if not len(held_out):
        found.append("No labelled example is held out yet: about one in five is, so label more.")
    elif not num_judged and not num_left_out:
        found.append("No held-out example has a class that is known here: label more of them.")
    crossed = sorted({each.version for each in scores if each.judged_by == "cross-validation"})
    if not num_judged and crossed:
        subject = "version" if len(crossed) == 1 else "versions"
        verb = "was" if len(crossed) == 1 else "were"
        numbers = " and ".join(map(str, crossed))
        found.append(f"After the run, {subject} {numbers} {verb} judged by cross-validation.")
    if num_left_out:
        examples_left = "example is" if num_left_out == 1 else "examples are"
        found.append(f"{num_left_out:,} held-out {examples_left} left out, as {why_left_out}.")
    if len(held_out) >= MAX_EXAMPLES:
        found.append(f"These are the newest {MAX_EXAMPLES:,} held-out examples.")
    return " ".join(found) or None
