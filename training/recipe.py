"""The recipe: how to learn, and when. Every number of learning is here, with its limits.

Each class is one table of a recipe file, and `Recipe` is the whole file. Versions and runs store
the recipe that they were trained with.
"""

from __future__ import annotations

import dataclasses
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from core.recipe_file import STRICT, Share, read_toml
from core.retention.policy import CapturePolicy, RetentionPolicy

ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Strength = Literal["none", "light", "medium", "strong"]
STRENGTHS: tuple[Strength, ...] = ("none", "light", "medium", "strong")

# By the names of 0.1, which files may use for one release more.
_RENAMED = {
    "triggers.after_quiet_s": "quiet_period_s",
    "head.balance": "class_balance",
    "blocks.balance": "class_balance",
    "planner.similar": "similar_accuracy",
    "planner.solved": "solved_accuracy",
    "planner.growth": "regrowth_factor",
}


@dataclass(frozen=True, slots=True, config=STRICT)
class TriggerRecipe:
    """When to start a run without a request. 0 turns a trigger off."""

    # So many new labels. 1: the first one after a pause starts a run at once, and those that come
    # while it runs share the next.
    after_labels: NonNegativeInt = 1
    # The newest label is so old. Matters where after_labels is 0 or more than 1.
    quiet_period_s: NonNegativeFloat = 0.5
    # The oldest new label is so old.
    every_s: NonNegativeFloat = 3600.0
    # Least time between the end of a run and the next. Under a steady stream of labels, the machine
    # rests for so long, and these labels are embedded meanwhile.
    min_interval_s: NonNegativeFloat = 0.2
    # The same while an archive is imported, whose labels come for minutes. At its end a run starts
    # as ever.
    importing_interval_s: NonNegativeFloat = 30.0
    pause_after_failure_s: NonNegativeFloat = 60.0


@dataclass(frozen=True, slots=True, config=STRICT)
class HeadRecipe:
    """How tier `head` learns."""

    # At most. There are fewer where the smallest class has fewer examples.
    num_folds: Annotated[int, Field(ge=2)] = 5
    # Each class weighs (n / (K n_k))^class_balance. 0: all examples weigh the same, 1: all classes.
    class_balance: Share = 0.5
    # A prediction abstains below the confidence that reaches this precision.
    target_precision: Share = 0.9


@dataclass(frozen=True, slots=True, config=STRICT)
class TuningRecipe:
    """How tier `blocks` learns, whatever the inputs. The defaults are those for images."""

    # How many blocks learn, counted from the last. The activations before them are cached.
    depth: PositiveInt = 6
    # On 2,934 photos of flowers, the best of 20 epochs was the 6th.
    epochs: PositiveInt = 10
    # Above 0, one more block joins after so many epochs, the last block first (ULMFiT, Howard and
    # Ruder 2018). 0: all blocks learn from the start, each at its own rate.
    unfreeze_every: NonNegativeInt = 0

    batch_size: PositiveInt = 32
    # Learning rate of the last block. The head is trained already, so it has a rate of its own.
    lr: PositiveFloat = 1e-3
    head_lr: PositiveFloat = 1e-3
    # Learning rate of each block over that of the next one up: early features are general ones.
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    # The rate rises from 0 in this share of the steps, then falls to 0 along a cosine.
    warmup: ShareBelowOne = 0.1
    weight_decay: NonNegativeFloat = 0.05
    clip_norm: PositiveFloat = 1.0

    label_smoothing: ShareBelowOne = 0.1
    # As in `HeadRecipe`.
    class_balance: Share = 0.5

    # Epochs without a lower held-out loss before the run ends.
    patience: PositiveInt = 5
    # Weights are averaged over about so many epochs. 0: no averaging.
    average_epochs: NonNegativeFloat = 2.0
    # 0: no limit. The run keeps the best model of that time.
    minutes: NonNegativeFloat = 0.0

    # Disk for cached activations, and memory for those of a microbatch.
    cache_mb: NonNegativeInt = 4096
    memory_mb: PositiveInt = 1024

    def to_json(self) -> dict[str, object]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, config=STRICT)
class BlocksRecipe(TuningRecipe):
    """How tier `blocks` learns images. `python -m bench.tune` measures the defaults on photos."""

    augment: Strength = "medium"
    # Turn off where left and right mean something: text, road signs, digits.
    flip: bool = True
    # Augmented variants of each photo that are cached and used in turn.
    views: NonNegativeInt = 4


@dataclass(frozen=True, slots=True, config=STRICT)
class TextBlocksRecipe(TuningRecipe):
    """How tier `blocks` learns texts.

    Few epochs, a warm-up and little weight decay are those of BERT's authors (Devlin et al. 2019).
    Mosbach et al. (2021, "On the stability of fine-tuning BERT") find that a warm-up and more steps
    keep small sets from failing. The falling rates are those of ULMFiT (Howard and Ruder 2018).
    """

    # On 1,200 descriptions of packages, all 6 layers of MiniLM were no better than 3.
    depth: PositiveInt = 3
    # 10 epochs gained 0.1 points on the same, within the noise, in twice the time.
    epochs: PositiveInt = 5
    # 5e-4 was up to 0.6 points better for MiniLM. Larger encoders need less: BERT's authors use
    # 2e-5 to 5e-5.
    lr: PositiveFloat = 2e-4
    weight_decay: NonNegativeFloat = 0.01


@dataclass(frozen=True, slots=True, config=STRICT)
class TextRecipe:
    """How a home of texts learns, where it differs from one of images."""

    blocks: TextBlocksRecipe = field(default_factory=TextBlocksRecipe)


@dataclass(frozen=True, slots=True, config=STRICT)
class PlannerPolicy:
    """When to train blocks without a request, and how many of them."""

    # With fewer examples, in all or in the median class, blocks overfit.
    min_examples: NonNegativeInt = 200
    min_examples_of_class: NonNegativeInt = 20
    # With so many examples, all blocks can be trained without overfitting.
    many_examples: NonNegativeInt = 2_000
    many_examples_of_class: NonNegativeInt = 200
    # Probe accuracy from which the task is similar to what the backbone knows. 0 is guessing, 1 is
    # perfect.
    similar_accuracy: Share = 0.85
    # Probe accuracy from which nothing worth minutes of training is left to gain.
    solved_accuracy: Share = 0.99
    # Train blocks again with so many times more examples; squared after a run that was held back.
    regrowth_factor: Annotated[float, Field(ge=1)] = 1.5
    # Share of the blocks that counts as the last ones.
    last_blocks: Annotated[float, Field(gt=0, le=1)] = 0.45
    # Largest class over the smallest. Beyond, even few epochs overfit the rare classes.
    max_imbalance: Annotated[float, Field(ge=1)] = 50.0
    # Off: blocks are trained on request only.
    is_automatic: bool = True


@dataclass(frozen=True, slots=True, config=STRICT)
class GatePolicy:
    """When a challenger replaces the champion. docs/explanation/gate.md explains the rules."""

    # Non-inferiority: be `confidence` sure that the challenger is not `margin` worse. The two
    # belong together: with 1,000 paired examples, a challenger 2 points worse passes in 5 %.
    margin: ShareBelowOne = 0.02
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    # With fewer examples margins widen with the noise, by sqrt(full_holdout / judged). A fixed
    # margin would hold back most equals at 200 examples, and at 100 even a copy of the champion.
    full_holdout: PositiveInt = 1000
    # With fewer examples the margin is above 6 points, and some classes have no held-out example.
    min_holdout: NonNegativeInt = 100
    # Significance level of "worse". Looser with few examples, where the test has less power.
    harm_alpha: Share = 0.05
    harm_alpha_cross_validation: Share = 0.10
    # Each promotion may lose a little within the noise. Against the best ever, losses can't add up.
    drift_margin: ShareBelowOne = 0.01
    # New classes bring new ways to be wrong: what old classes may lose on top of these margins.
    added_classes_allowance: ShareBelowOne = 0.01
    # A class collapses if its recall was decent and halved, by more than luck and more than
    # ordinary churn. Churn is the share of a class that a retrain without new labels turns wrong.
    min_class_examples: NonNegativeInt = 5
    decent_recall: Share = 0.5
    collapse_ratio: Share = 0.5
    collapse_alpha: Share = 0.05
    ordinary_churn: Share = 0.10
    # A first model of new classes must beat guessing, once there are enough examples to tell: so
    # many in all, and `min_class_examples` of each judged class.
    min_chance_examples: NonNegativeInt = 10
    # Two runtimes differ by 1e-6 to 1e-4 in float32; a wrongly exported graph by far more.
    max_parity: NonNegativeFloat = 1e-3
    max_latency_ratio: NonNegativeFloat = 1.5
    # int8 must gain speed. It is slower than float32 on a CPU without instructions for it, or in
    # an architecture that often goes back to floats.
    max_int8_latency_ratio: NonNegativeFloat = 0.9
    # protobuf refuses an ONNX file of 2 GiB, and a version is offered as one standalone file.
    max_bytes: NonNegativeInt = 2**31 - 1


@dataclass(frozen=True, slots=True, config=STRICT)
class Recipe:
    triggers: TriggerRecipe = field(default_factory=TriggerRecipe)
    head: HeadRecipe = field(default_factory=HeadRecipe)
    blocks: BlocksRecipe = field(default_factory=BlocksRecipe)
    text: TextRecipe = field(default_factory=TextRecipe)
    planner: PlannerPolicy = field(default_factory=PlannerPolicy)
    gate: GatePolicy = field(default_factory=GatePolicy)
    # Serving processes and `evergreen gc` read them too, so they are defined in core.
    capture: CapturePolicy = field(default_factory=CapturePolicy)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def load_recipe(path: Path | None) -> Recipe:
    """Read a recipe file, or return the built-in recipe. Raises InvalidRecipe with all problems."""
    return Recipe() if path is None else read_toml(path, Recipe, _RENAMED)
