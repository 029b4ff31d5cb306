"""The plan of an import: every file of the source once, in the same order each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.class_names import identity
from core.exchange.reading.folder_layout import label_by_folders, wrapper_depth
from core.exchange.reading.items import Item, Layout
from core.exchange.reading.label_file import find_label_file, label_by_file
from core.exchange.reading.source import Source


@dataclass(frozen=True, slots=True)
class Plan:
    items: list[Item]
    # By label: the spellings in the source, where one differs from the label.
    joined: dict[str, list[str]] = field(default_factory=dict)


def make_plan(source: Source, known: Mapping[str, str], layout: Layout = "auto") -> Plan:
    """Read the labels of a source. `known` has the stored name of each class, by identity.

    A label file goes before folders. Raises InvalidRequest, InvalidLabel, InvalidArchive.
    """
    items = source.labelled()
    if items is not None:
        return _join_spellings(items, known)
    labels = None if layout == "classes" else find_label_file(source)
    if labels is not None:
        return _join_spellings(label_by_file(source.files, labels), known)
    wrapper = wrapper_depth(source.files, source.may_have_wrapper, layout)
    return _join_spellings(label_by_folders(source, layout, wrapper), known)


def _join_spellings(items: Sequence[Item], known: Mapping[str, str]) -> Plan:
    """Give all spellings of a class one label: the stored one, or else that of the first file."""
    names = dict(known)
    spellings: dict[str, dict[str, None]] = {}
    joined: list[Item] = []
    for item in items:
        if item.kind is not None:
            joined.append(item)
            continue
        name = names.setdefault(identity(item.label), item.label)
        spellings.setdefault(name, {})[item.label] = None
        joined.append(item if name == item.label else replace(item, label=name))
    return Plan(joined, {n: list(each) for n, each in spellings.items() if list(each) != [n]})
