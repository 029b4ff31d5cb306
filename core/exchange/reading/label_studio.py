"""Label Studio's JSON: its tasks with annotations, and its shorter form without."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import InvalidArchive
from core.exchange.reading.label_rows import LabelRow, row_of_object
from core.exchange.reading.source_file import shown

_SPACE = re.compile(r"[ \t\r\n]*")
_MAX_TASKS = 1_000_000


def read_tasks(text: str, name: str) -> Iterator[LabelRow]:
    """One row for each task. Raises InvalidArchive."""
    for number, (task, _, _) in enumerate(scan(text, name), start=1):
        yield _row_of(task, f"task {number:,}")


def scan(text: str, name: str) -> Iterator[tuple[Any, int, int]]:
    """Each task of a list, and where it begins and ends. Tasks are parsed one by one, because a
    parser holds up the other threads of the process until it returns. Raises InvalidArchive."""
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise InvalidArchive(f"{shown(name)} is no list of tasks, as Label Studio exports it")
    at = _skip(text, at + 1)
    number = 0
    while text[at : at + 1] != "]":
        if number >= _MAX_TASKS:
            raise InvalidArchive(f"{shown(name)} has more than {_MAX_TASKS:,} tasks")
        start = at
        try:
            task, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise InvalidArchive(f"{shown(name)}, task {number + 1:,}, is no JSON") from error
        number += 1
        yield task, start, at
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            raise InvalidArchive(f"{shown(name)} ends in the middle, after task {number:,}")


def labels_of_task(task: Mapping[str, Any], image: str) -> LabelRow:
    """What the annotations of a task say of its input."""
    data = task["data"]
    split = data.get("split")
    annotations = task.get("annotations")
    found: set[str] = set()
    for annotation in annotations if isinstance(annotations, list) else []:
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        choices = _choices_of(annotation.get("result"))
        if len(choices) > 1:
            return LabelRow(image, problem="several labels", is_conflict=True)
        found |= choices
    if len(found) > 1:
        problem = "annotators do not agree"
        return LabelRow(image, problem=problem, is_conflict=True)
    return LabelRow(image, next(iter(found), ""), split if isinstance(split, str) else "")


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _row_of(task: Any, place: str) -> LabelRow:
    if not isinstance(task, dict):
        return LabelRow(place, problem="no object")
    data = task.get("data")
    if not isinstance(data, dict):  # the shorter form
        if "choice" in task and "label" not in task:
            task = {**task, "label": _choice_of_short(task["choice"])}
        return row_of_object(task, place)
    image = data.get("image")
    if not isinstance(image, str):
        return LabelRow(place, problem="no text in data.image")
    return labels_of_task(task, image)


def _choices_of(result: Any) -> set[str]:
    """Those of the first part of an annotation that chooses anything."""
    for part in result if isinstance(result, list) else []:
        if not isinstance(part, dict) or part.get("type") != "choices":
            continue
        value = part.get("value")
        choices = value.get("choices") if isinstance(value, dict) else None
        if isinstance(choices, list) and choices:
            return {choice for choice in choices if isinstance(choice, str)}
    return set()


def _choice_of_short(choice: Any) -> Any:
    return choice["choices"] if isinstance(choice, dict) and "choices" in choice else choice
