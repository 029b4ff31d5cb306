"""After a new head, request a run of tier `blocks` if the planner says so."""

from __future__ import annotations

import importlib.util

from core import runs
from core.errors import ArtifactError
from core.store.store import Store
from training.recipe import PlannerPolicy
from training.worker.planner import plan
from training.worker.planner_input import read_planner_input

# An optional extra. Without it only heads are trained.
_HAS_TORCH = importlib.util.find_spec("torch") is not None


def request_if_planned(store: Store, policy: PlannerPolicy, now: float) -> None:
    if not policy.is_automatic or not _HAS_TORCH:
        return
    try:
        planned = plan(read_planner_input(store), policy)
    except ArtifactError:  # of the champion: runs end with this error
        return
    if planned.tier != "blocks":
        return
    wanted = {"share": planned.share, "epochs": planned.epochs, "reason": planned.reason}
    with store.db.write(durable=False) as conn:
        if not any(run.tier == "blocks" for run in runs.unfinished(conn)):
            runs.request(conn, trigger="plan", now=now, tier="blocks", wanted=wanted)
