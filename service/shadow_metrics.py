"""Metrics of the shadows: agreement with the champion and, once labels arrive, accuracy.

Only the shadows of the current champion are named, so labels stay few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Connection

from core.registry import versions
from core.registry.promotions import Activation
from core.shadows import answers, outcomes
from core.shadows.selection import MAX_SHADOWS

_COUNTERS = {
    "evergreen_shadow_answers": "Shadow answers, by version.",
    "evergreen_shadow_agreements": "Shadow answers that agree with the champion's, by version.",
}
_GAUGES = {
    "evergreen_shadow_labelled": "Shadow answers with one of the last 1,000 labels.",
    "evergreen_shadow_right": "Those of them that are right, by version.",
    "evergreen_shadow_champion_right": "Those of them that the champion got right.",
}


def families(conn: Connection, activation: Activation | None) -> Iterator[Metric]:
    by_name: dict[str, CounterMetricFamily | GaugeMetricFamily] = {
        name: CounterMetricFamily(name, text, labels=["version"])
        for name, text in _COUNTERS.items()
    }
    by_name |= {
        name: GaugeMetricFamily(name, text, labels=["version"]) for name, text in _GAUGES.items()
    }
    if activation is not None:
        for tally in answers.recent_tallies(conn, activation.version, MAX_SHADOWS):
            snapshot = versions.get(conn, tally.version).snapshot
            recent = outcomes.recent(
                conn, tally.version, after=snapshot, champion=activation.version
            )
            score = outcomes.score(Counter(recent))
            values = (
                tally.answers,
                tally.agreements,
                score.labelled,
                score.shadow_right,
                score.champion_right,
            )
            for family, value in zip(by_name.values(), values, strict=True):
                family.add_metric([str(tally.version)], value)
    yield from by_name.values()
