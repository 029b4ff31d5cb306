"""Predictions as a terminal shows them, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cli.console import out, percent, table
from cli.excerpts import under
from core.errors import InputError
from core.predict import PredictionResult

_UNFAMILIAR = "unlike everything labelled"
_TRUNCATED = "only its beginning was read: it is longer than the model takes"
_ZERO_SHOT = "nothing is labelled yet: it goes by the names of the classes"


@dataclass(frozen=True, slots=True)
class Outcome:
    # The file, or its line.
    name: str
    result: PredictionResult | InputError
    # None: lists show no text of this kind.
    excerpt: str | None = None


def print_one(outcome: Outcome, result: PredictionResult, top: int) -> None:
    prediction = result.prediction
    unsure = ", too unsure to rely on" if result.abstains else ""
    unfamiliar = f", {_UNFAMILIAR}" if prediction.unfamiliar else ""
    out.print(
        f"{outcome.name}: {prediction.label}, {percent(prediction.confidence)} "
        f"(version {prediction.version}{unsure}{unfamiliar})",
        soft_wrap=True,
    )
    for remark in _remarks(result):
        out.print(f"Note: {remark}.", soft_wrap=True)
    shown = table("Class", "Confidence", right=("Confidence",))
    for name, confidence in result.best(top):
        shown.add_row(name, percent(confidence))
    out.print(shown)
    out.print(f"Is it something else? evergreen label {prediction.id} LABEL", soft_wrap=True)


def print_many(outcomes: list[Outcome], *, has_excerpts: bool) -> None:
    middle = ("Label", "Conf.")
    columns = ("Text, prediction", *middle) if has_excerpts else (*middle, "Prediction")
    shown = table("File", *columns, right=("Conf.",))
    shown.columns[-1].no_wrap = not has_excerpts
    results = [each.result for each in outcomes if isinstance(each.result, PredictionResult)]
    for outcome in outcomes:
        result = outcome.result
        if isinstance(result, InputError):
            continue
        prediction = result.prediction
        mark = "?" * result.abstains + "!" * bool(prediction.unfamiliar)
        mark += "*" * bool(result.is_truncated)
        row = prediction.label + mark, percent(prediction.confidence)
        if has_excerpts:
            shown.add_row(outcome.name, under(outcome.excerpt, prediction.id), *row)
        else:
            shown.add_row(outcome.name, *row, prediction.id)
    out.print(shown)
    if any(result.abstains for result in results):
        out.print("?  too unsure to rely on")
    if any(result.prediction.unfamiliar for result in results):
        out.print(f"!  {_UNFAMILIAR}")
    if any(result.is_truncated for result in results):
        out.print(f"*  {_TRUNCATED}")
    if any(result.is_zero_shot for result in results):
        out.print(f"{_ZERO_SHOT[:1].upper()}{_ZERO_SHOT[1:]}.")


def as_json(outcome: Outcome, top: int) -> dict[str, Any]:
    result = outcome.result
    if isinstance(result, InputError):
        return {"file": outcome.name, "error": {"code": result.code, "detail": str(result)}}
    prediction = result.prediction
    return {
        "file": outcome.name,
        "prediction_id": prediction.id,
        "version": prediction.version,
        "label": prediction.label,
        "confidence": prediction.confidence,
        "abstains": result.abstains,
        "unfamiliar": prediction.unfamiliar,
        "truncated": result.is_truncated,
        "note": result.note,
        "zero_shot": result.is_zero_shot,
        "top": [{"label": name, "confidence": c} for name, c in result.best(top)],
    }


def _remarks(result: PredictionResult) -> list[str]:
    said = ((result.is_truncated, _TRUNCATED), (result.is_zero_shot, _ZERO_SHOT))
    return [remark for is_so, remark in said if is_so] + ([result.note] if result.note else [])
