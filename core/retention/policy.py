"""What is kept of predictions, and for how long: tables `capture` and `retention` of a recipe.

Serving processes decide which images to keep, and trainers sweep, so both read these tables of the
file that `EVERGREEN_RECIPE` names. A row in the database would be known a moment too late: with
`keep = "none"` not even the first image may be kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PlainValidator
from pydantic.dataclasses import dataclass

from core.recipe_file import STRICT, Share, read_toml

KEEP = ("all", "doubtful", "none")


def _check_keep(value: Any) -> str | float:
    if isinstance(value, str) and value in KEEP:
        return value
    if type(value) in (int, float) and 0 <= value <= 1:  # a boolean is no number
        return float(value)
    raise ValueError('write "all", "doubtful", "none", or the share to keep, from 0 to 1')


@dataclass(frozen=True, slots=True, config=STRICT)
class CapturePolicy:
    """Which images of predictions are kept, so that they can be labelled by id. A labelled image is
    never swept."""

    # "all"; a share, chosen by the id of the prediction; "doubtful": those with a small margin and
    # the unfamiliar ones; "none".
    keep: Annotated[str | float, PlainValidator(_check_keep)] = "all"
    # Below this margin between the first and the second class, a prediction is doubtful.
    doubtful_margin: Share = 0.5
    # Most images an hour on each machine. 0: no limit.
    max_per_hour: NonNegativeInt = 0
    # Beyond so many GB (10^9 bytes) the oldest images are swept. 0: no limit.
    max_gb: NonNegativeFloat = 20.0
    # Older images are swept. 0: no limit.
    max_days: NonNegativeFloat = 30.0


@dataclass(frozen=True, slots=True, config=STRICT)
class RetentionPolicy:
    """How long the rest is kept. 0: no limit. What labels refer to is never swept."""

    # Rows of predictions, with the answers of shadows: so many days, and the newest so many.
    prediction_days: NonNegativeFloat = 365.0
    max_predictions: NonNegativeInt = 10_000_000
    # Runs that have ended.
    run_days: NonNegativeFloat = 90.0
    max_runs: NonNegativeInt = 10_000
    # Versions. Their rows stay, and their files go.
    version_days: NonNegativeFloat = 90.0
    max_versions: NonNegativeInt = 1_000
    # A label that is sent again later than this, with the same key, counts as a new one.
    idempotency_key_days: NonNegativeFloat = 30.0
    # When versions that saw an erased example are retired: "at-once", all but the champion, which
    # goes as soon as another one serves; "next-promotion", all of them then; "never".
    erased_versions: Literal["at-once", "next-promotion", "never"] = "next-promotion"


def load_capture_policy(path: Path | None) -> CapturePolicy:
    """Read it from a recipe file. Raises InvalidRecipe."""
    return CapturePolicy() if path is None else read_toml(path, CapturePolicy, section="capture")


def load_retention_policy(path: Path | None) -> RetentionPolicy:
    """Read it from a recipe file. Raises InvalidRecipe."""
    if path is None:
        return RetentionPolicy()
    return read_toml(path, RetentionPolicy, section="retention")
