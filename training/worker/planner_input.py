"""What the planner needs to know, read from the store."""

from __future__ import annotations

from core import runs
from core.class_names import is_class
from core.labelling import labels
from core.labelling.census import read_census
from core.registry import promotions, versions
from core.store.store import Store
from training.worker.planner import PastTuning, PlannerInput


def read_planner_input(store: Store) -> PlannerInput:
    with store.db.read() as conn:
        newest = promotions.newest_activation(conn)
        live = versions.get(conn, newest.version) if newest is not None else None
        census = read_census(conn)
        last = runs.last_of(conn, ("blocks",))
        past = None
        if last is not None and last.state == "finished" and last.snapshot is not None:
            num_trained = last.parameters.get("num_trained")
            if num_trained is None:  # a run of an older release
                num_trained = sum(
                    not row.is_held_out and is_class(row.label)
                    for row in labels.current(conn, last.snapshot)
                )
            share = last.parameters.get("wanted", {}).get("share") or 0.0
            past = PastTuning(num_trained, last.outcome == "promoted", share)
    num_by_class = {name: census.num_trained[name] for name in census.classes}
    probe = live.metrics.get("out_of_fold_accuracy") if live is not None else None
    is_tuned = live is not None and versions.read_manifest(live, store).tuned_from is not None
    return PlannerInput(num_by_class, probe, past, is_tuned)
