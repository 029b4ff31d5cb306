"""The planner: how much of the network to train, from how much there is to learn from and how well
the backbone knows it already. A pure function; its reasons are kept with the run.

The four corners are those of transfer learning's folklore (for one, the Stanford course CS231n):

                       similar to what it knows       different
    few examples       head                           last blocks
    many examples      last blocks                    all blocks

Similar means: the frozen features of the backbone that serves separate the classes. That is
measured, in those features, as the accuracy of a linear classifier out of fold (a linear probe:
Alain & Bengio 2016; as a predictor of transfer: Kornblith et al. 2019), chance taken out.

Once its blocks are tuned, those are the tuned features, which have seen most of the examples: they
tell whether another run could gain anything, and no longer how far the pretrained backbone, at
which that run begins, is from the task. So it goes no less deep than the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.recipe import PlannerPolicy

Tier = Literal["head", "blocks"]


@dataclass(frozen=True, slots=True)
class PastTuning:
    """The last run of tier `blocks`, whatever backbone was used since."""

    num_trained: int
    was_promoted: bool
    # The share of the blocks that it was told to train; 0: the recipe's own depth.
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class PlannerInput:
    # Examples to train on, by class that has joined.
    num_by_class: dict[str, int]
    # Out-of-fold accuracy of a linear head on the frozen features, 0 to 1; None: not known yet.
    probe_accuracy: float | None
    past: PastTuning | None = None
    # Whether the blocks of the backbone that serves are tuned, and those of a run will not be.
    is_tuned: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    tier: Tier
    # The share of the backbone's blocks to train, counted from the embedding; 0: the head alone.
    share: float
    epochs: int
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)


def similarity(probe_accuracy: float, num_classes: int) -> float:
    """Accuracy with chance taken out: 0 for guessing, 1 for perfect."""
    chance = 1 / num_classes
    return max(0.0, (probe_accuracy - chance) / (1 - chance))


def plan(situation: PlannerInput, policy: PlannerPolicy) -> Plan:
    """Choose tier, depth and epochs for the next run that was not told what to do."""
    counts = sorted(situation.num_by_class.values())
    num_trained = sum(counts)
    median = counts[len(counts) // 2] if counts else 0
    size = f"{num_trained:,} examples of {len(counts)} classes, {median} in the median one"
    if num_trained < policy.min_examples or median < policy.min_examples_of_class:
        least = f"{policy.min_examples} and {policy.min_examples_of_class}"
        return _head_only(f"{size}: too few to train blocks ({least})")
    if counts[-1] > policy.max_imbalance * counts[0]:
        limit = f"{policy.max_imbalance:.0f}"
        return _head_only(f"{size}: the largest class is over {limit} times the smallest")
    if situation.probe_accuracy is None:
        return _head_only(f"{size}; how well the backbone knows them is not measured yet")
    known = similarity(situation.probe_accuracy, len(counts))
    knowing = f"a head on frozen features gets {100 * known:.0f} % of the way from chance"
    if known >= policy.solved_accuracy:
        return _head_only(size, f"{knowing}: nothing is left to gain")
    waiting = _not_yet(situation.past, num_trained, policy)
    if waiting:
        return _head_only(size, waiting)
    is_many = num_trained >= policy.many_examples and median >= policy.many_examples_of_class
    is_similar = known >= policy.similar_accuracy
    corner = f"{'many' if is_many else 'few'} and {'similar' if is_similar else 'different'}"
    if is_similar and not is_many:
        return _head_only(size, f"{knowing}: {corner}, so the head alone")
    share = 1.0 if is_many and not is_similar else policy.last_blocks
    what = "all blocks" if share == 1.0 else "the last blocks"
    if situation.is_tuned and situation.past is not None and situation.past.share > share:
        share = situation.past.share
        what = "as many blocks as the last time"
    # As many steps as settle the head of a small task, without a day's work for a large one.
    epochs = max(4, min(20, round(20_000 / num_trained)))
    return Plan("blocks", share, epochs, (size, f"{knowing}: {corner}, so {what}"))


def _not_yet(past: PastTuning | None, num_trained: int, policy: PlannerPolicy) -> str | None:
    if past is None:
        return None
    growth = policy.regrowth_factor if past.was_promoted else policy.regrowth_factor**2
    needed = int(past.num_trained * growth)
    if num_trained >= needed:
        return None
    how = "trained" if past.was_promoted else "tried, and held back,"
    return f"blocks were {how} at {past.num_trained:,} examples; again at {needed:,}"


def _head_only(*reasons: str) -> Plan:
    return Plan("head", 0.0, 0, reasons)
