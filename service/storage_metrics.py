"""Metrics of what takes how much room, as the last sweep has measured it."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from core.retention.storage import Storage


def families(storage: Storage, free_bytes: int | None) -> Iterator[Metric]:
    sizes = GaugeMetricFamily(
        "evergreen_storage_bytes", "Bytes by kind, as of the last sweep.", labels=["kind"]
    )
    items = GaugeMetricFamily(
        "evergreen_storage_items", "Number by kind, as of the last sweep.", labels=["kind"]
    )
    for use in storage.uses:
        sizes.add_metric([use.kind], use.num_bytes)
        items.add_metric([use.kind], use.num_items)
    days = GaugeMetricFamily(
        "evergreen_days_until_full",
        "Free disk over the growth of the last days. Absent while unknown, or without growth.",
    )
    until_full = storage.days_until_full(free_bytes)
    if until_full is not None:
        days.add_metric([], until_full)
    yield from (sizes, items, days)
