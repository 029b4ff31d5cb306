"""What is scraped of the shadows: agreement with the champion and, once labels arrive, accuracy.

Only of those that answered last beside the present champion: so the versions named are few.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Connection

from core.registry import versions
from core.registry.promotions import Activation
from core.shadows import answers, outcomes
from core.shadows.selection import MAX_SHADOWS

_COUNTERS = {
    "evergreen_shadow_answers": "Silent answers, by version.",
    "evergreen_shadow_agreements": "Silent answers that agree with the champion's, by version.",
}
_GAUGES = {
    "evergreen_shadow_labelled": "Silent answers that a label came back for, by version.",
    "evergreen_shadow_right": "Of these, the ones that were right, by version.",
    "evergreen_shadow_champion_right": "Of these, the ones that the champion got right.",
}


def families(conn: Connection, activation: Activation | None) -> Iterator[Metric]:
    found: dict[str, CounterMetricFamily | GaugeMetricFamily] = {
        name: CounterMetricFamily(name, text, labels=["version"])
        for name, text in _COUNTERS.items()
    }
    found |= {
        name: GaugeMetricFamily(name, text, labels=["version"]) for name, text in _GAUGES.items()
    }
    if activation is not None:
        for tally in answers.recent_tallies(conn, activation.version, MAX_SHADOWS):
            snapshot = versions.get(conn, tally.version).snapshot
            score = outcomes.score(
                outcomes.paired(conn, tally.version, after=snapshot, champion=activation.version)
            )
            values = (
                tally.answers,
                tally.agreements,
                score.labelled,
                score.shadow_right,
                score.champion_right,
            )
            for family, value in zip(found.values(), values, strict=True):
                family.add_metric([str(tally.version)], value)
    yield from found.values()
