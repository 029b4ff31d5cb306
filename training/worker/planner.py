"""The planner: how many blocks to train. A pure function; its reasons are kept with the run.

It depends on the number of examples, and on how similar the task is to what the backbone knows.
The four corners are a rule of thumb of transfer learning (for one, Stanford's course CS231n):

                       similar to what it knows       different
    few examples       head                           last blocks
    many examples      last blocks                    all blocks

A task is similar if frozen features separate its classes. The measure is a linear probe on the
champion's features: its out-of-fold accuracy, rescaled so that guessing is 0 (Alain & Bengio 2016;
as a predictor of transfer: Kornblith et al. 2019).

Once blocks are tuned, the probe sees tuned features, which were trained on most of the examples.
It then shows whether another run could gain anything, but not how different the task is from the
pretrained backbone, where that run starts. So a new run trains at least as many blocks as the last.
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
    # Share of the blocks that it was asked to train; 0: the recipe's own depth.
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class PlannerInput:
    # Training examples by class that has joined.
    num_by_class: dict[str, int]
    # Out-of-fold accuracy of a linear head on frozen features, 0 to 1; None: not measured yet.
    probe_accuracy: float | None
    past: PastTuning | None = None
    # Whether the blocks of the champion's backbone are tuned.
    is_tuned: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    tier: Tier
    # Share of the backbone's blocks to train, counted from the embedding; 0: the head alone.
    share: float
    epochs: int
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)


def similarity(probe_accuracy: float, num_classes: int) -> float:
    """Rescale accuracy so that guessing is 0 and perfect is 1."""
    chance = 1 / num_classes
    return max(0.0, (probe_accuracy - chance) / (1 - chance))


def plan(known: PlannerInput, policy: PlannerPolicy) -> Plan:
    """Choose tier, depth and epochs of the next run that nobody requested."""
    counts = sorted(known.num_by_class.values())
    num_trained = sum(counts)
    median = counts[len(counts) // 2] if counts else 0
    size = f"{num_trained:,} examples of {len(counts)} classes, {median} in the median class"
    if num_trained < policy.min_examples or median < policy.min_examples_of_class:
        least = f"{policy.min_examples} in all, {policy.min_examples_of_class} in the median class"
        return _head_only(f"{size}: too few to train blocks, which needs {least}")
    if counts[-1] > policy.max_imbalance * counts[0]:
        limit = f"{policy.max_imbalance:.0f}"
        return _head_only(f"{size}: the largest class is over {limit} times the smallest")
    if known.probe_accuracy is None:
        return _head_only(f"{size}: the accuracy on frozen features is not measured yet")
    similar = similarity(known.probe_accuracy, len(counts))
    probe = f"a head on frozen features covers {100 * similar:.0f} % of the way from chance"
    if similar >= policy.solved_accuracy:
        return _head_only(size, f"{probe}: nothing is left to gain")
    wait = _why_wait(known.past, num_trained, policy)
    if wait:
        return _head_only(size, wait)
    is_many = num_trained >= policy.many_examples and median >= policy.many_examples_of_class
    is_similar = similar >= policy.similar_accuracy
    corner = f"{'many' if is_many else 'few'} and {'similar' if is_similar else 'different'}"
    if is_similar and not is_many:
        return _head_only(size, f"{probe}: {corner}, so the head alone")
    share = 1.0 if is_many and not is_similar else policy.last_blocks
    depth = "all blocks" if share == 1.0 else "the last blocks"
    if known.is_tuned and known.past is not None and known.past.share > share:
        share = known.past.share
        depth = "as many blocks as the last time"
    # About 20,000 images in all: enough steps for a small task, and no day's work for a large one.
    epochs = max(4, min(20, round(20_000 / num_trained)))
    return Plan("blocks", share, epochs, (size, f"{probe}: {corner}, so {depth}"))


def _why_wait(past: PastTuning | None, num_trained: int, policy: PlannerPolicy) -> str | None:
    if past is None:
        return None
    factor = policy.regrowth_factor if past.was_promoted else policy.regrowth_factor**2
    needed = int(past.num_trained * factor)
    if num_trained >= needed:
        return None
    how = "trained" if past.was_promoted else "tried and held back"
    return f"blocks were {how} with {past.num_trained:,} examples; again with {needed:,}"


def _head_only(*reasons: str) -> Plan:
    return Plan("head", 0.0, 0, reasons)
