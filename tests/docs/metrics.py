"""The reference of metrics: names, kinds and labels as they are scraped, with their help texts."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from core.settings import Settings
from core.store.store import open_store
from service.metrics import render
from tests.docs.tables import Kept, code, table


def of_machine(_kept: Kept) -> str:
    """Counted by each process, and added up over the processes of one machine."""
    counted = {family.name for family in REGISTRY.collect()}
    return _table(family for family in _scraped() if family.name in counted)


def of_database(_kept: Kept) -> str:
    """Read from the database at each scrape."""
    counted = {family.name for family in REGISTRY.collect()}
    return _table(family for family in _scraped() if family.name not in counted)


@functools.cache
def _scraped() -> list[Metric]:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Settings(home=Path(folder)))
        try:
            text = render(store, (0, 0)).decode()
        finally:
            store.db.close()
    return [
        family
        for family in text_string_to_metric_families(text)
        if family.name.startswith("evergreen_") and not family.name.endswith("_created")
    ]


def _table(families: Iterable[Metric]) -> str:
    rows = [
        [
            code(_name(family)),
            family.type,
            ", ".join(map(code, _labels(family))),
            family.documentation,
        ]
        for family in families
    ]
    return table(["metric", "kind", "labels", "meaning"], rows)


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> list[str]:
    # What is not counted yet has no samples: its labels are in the registry.
    counter = REGISTRY._names_to_collectors.get(family.name)
    names = getattr(counter, "_labelnames", ())
    return list(names or sorted({n for s in family.samples for n in s.labels} - {"le"}))
