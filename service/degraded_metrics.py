"""The metric of what is degraded: one series for each thing that can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from prometheus_client.core import GaugeMetricFamily

from core.doctor.degraded import NAMES, Degraded

Result = TypeVar("Result")


class Observer(Protocol):
    """What a serving process knows of itself (`service/inference/health.py`)."""

    def read(self, work: Callable[[], Result]) -> Result:
        """Do the work, which reads the database. Raises StoreError also if it takes too long."""

    def degraded(self, of_database: Sequence[Degraded] | None) -> list[Degraded]:
        """What is degraded, in all. None: the database does not answer."""


def family(found: Iterable[Degraded]) -> GaugeMetricFamily:
    names = {each.what for each in found}
    degraded = GaugeMetricFamily(
        "evergreen_degraded",
        "1 if it does not work as it should, while predictions go on; else 0.",
        labels=["what"],
    )
    for name in NAMES:
        degraded.add_metric([name], float(name in names))
    return degraded
