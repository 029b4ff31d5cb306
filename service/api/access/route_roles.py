"""The role that each route needs. A route that is not here needs that of an admin."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping

from starlette.routing import compile_path

from core.access.roles import Role


class Open(enum.Enum):
    """Routes that need no key."""

    # Under any name: load balancers ask by address, or by a name of their own.
    PROBE = "probe"
    # The files of the page, which are the same for everyone, and the way to sign in.
    PAGE = "page"


Need = Role | Open

ROUTES: Mapping[tuple[str, str], Need] = {
    ("GET", "/livez"): Open.PROBE,
    ("GET", "/readyz"): Open.PROBE,
    ("GET", "/healthz"): Open.PROBE,
    ("GET", "/v2/health/live"): Open.PROBE,
    ("GET", "/v2/health/ready"): Open.PROBE,
    ("GET", "/"): Open.PAGE,
    ("GET", "/page/{path:path}"): Open.PAGE,
    ("POST", "/v1/session"): Open.PAGE,
    ("DELETE", "/v1/session"): Open.PAGE,
    ("GET", "/v1/session"): Role.PREDICT,
    ("POST", "/v1/predict"): Role.PREDICT,
    ("GET", "/v1/status"): Role.PREDICT,
    ("GET", "/v1/stream"): Role.PREDICT,
    ("GET", "/v1/versions"): Role.PREDICT,
    ("GET", "/v1/versions/{number}"): Role.PREDICT,
    ("GET", "/v1/champion"): Role.PREDICT,
    ("GET", "/metrics"): Role.PREDICT,
    ("GET", "/openapi.json"): Role.PREDICT,
    ("POST", "/v1/feedback"): Role.LABEL,
    ("DELETE", "/v1/feedback/{feedback_id}"): Role.LABEL,
    ("POST", "/v1/feedback/batch"): Role.LABEL,
    ("GET", "/v1/batches"): Role.LABEL,
    # Its own; those of others with the role train.
    ("DELETE", "/v1/batches/{batch_id}"): Role.LABEL,
    ("GET", "/v1/classes"): Role.LABEL,
    ("POST", "/v1/classes/rename"): Role.TRAIN,
    ("POST", "/v1/classes/merge"): Role.TRAIN,
    ("POST", "/v1/classes/delete"): Role.TRAIN,
    ("GET", "/v1/runs"): Role.LABEL,
    ("GET", "/v1/runs/{run_id}"): Role.LABEL,
    ("GET", "/v1/runs/{run_id}/events"): Role.LABEL,
    ("GET", "/v1/predictions"): Role.LABEL,
    ("GET", "/v1/predictions/{prediction_id}"): Role.LABEL,
    ("GET", "/v1/predictions/{prediction_id}/image"): Role.LABEL,
    ("GET", "/v1/predictions/{prediction_id}/text"): Role.LABEL,
    ("GET", "/v1/examples"): Role.LABEL,
    ("GET", "/v1/examples/{example_id}"): Role.LABEL,
    ("GET", "/v1/examples/{example_id}/image"): Role.LABEL,
    ("GET", "/v1/examples/{example_id}/text"): Role.LABEL,
    ("GET", "/v1/versions/{number}/examples"): Role.LABEL,
    ("GET", "/v1/queue"): Role.LABEL,
    ("GET", "/v1/neighbours"): Role.LABEL,
    ("GET", "/v1/versions/{a}/diff/{b}"): Role.LABEL,
    ("GET", "/v1/versions/{number}/confusion"): Role.LABEL,
    ("GET", "/v1/lost-images"): Role.LABEL,
    ("GET", "/v1/map"): Role.LABEL,
    ("GET", "/v1/learning-curve"): Role.LABEL,
    ("DELETE", "/v1/lost-images/{example_id}"): Role.TRAIN,
    # Nobody can undo it, and all predictions of the image go, whoever asked for them.
    ("DELETE", "/v1/examples/{example_id}"): Role.TRAIN,
    ("DELETE", "/v1/predictions/{prediction_id}"): Role.TRAIN,
    ("POST", "/v1/retrain"): Role.TRAIN,
    ("DELETE", "/v1/runs/{run_id}"): Role.TRAIN,
    ("POST", "/v1/imports"): Role.TRAIN,
    ("GET", "/v1/imports"): Role.TRAIN,
    ("GET", "/v1/imports/{import_id}"): Role.TRAIN,
    ("GET", "/v1/imports/{import_id}/events"): Role.TRAIN,
    ("DELETE", "/v1/imports/{import_id}"): Role.TRAIN,
    # All images and labels at once.
    ("GET", "/v1/export"): Role.TRAIN,
    # The model is what others would steal.
    ("GET", "/v1/versions/{number}/model.onnx"): Role.TRAIN,
    # Who did what is for few.
    ("GET", "/v1/events"): Role.ADMIN,
    # It overrules the gate.
    ("PUT", "/v1/champion"): Role.ADMIN,
    ("GET", "/v2"): Role.PREDICT,
    ("GET", "/v2/models/{model}"): Role.PREDICT,
    ("GET", "/v2/models/{model}/ready"): Role.PREDICT,
    ("POST", "/v2/models/{model}/infer"): Role.PREDICT,
    ("GET", "/v2/models/{model}/versions/{version}"): Role.PREDICT,
    ("GET", "/v2/models/{model}/versions/{version}/ready"): Role.PREDICT,
    ("POST", "/v2/models/{model}/versions/{version}/infer"): Role.PREDICT,
    # What BentoML brings.
    ("POST", "/predict"): Role.PREDICT,
    ("GET", "/schema.json"): Role.PREDICT,
    ("GET", "/docs.json"): Role.PREDICT,
    ("GET", "/static_content/{path:path}"): Role.PREDICT,
}

_FIXED = {route: need for route, need in ROUTES.items() if "{" not in route[1]}
# As the router compiles them: the two agree on which path is which route.
_TEMPLATES: tuple[tuple[str, re.Pattern[str], Need], ...] = tuple(
    (method, compile_path(template)[0], need)
    for (method, template), need in ROUTES.items()
    if "{" in template
)


def need_of(method: str, path: str) -> Need:
    """What a request needs. HEAD needs what GET does."""
    wanted = "GET" if method == "HEAD" else method
    fixed = _FIXED.get((wanted, path))
    if fixed is not None:
        return fixed
    for allowed, pattern, need in _TEMPLATES:
        if allowed == wanted and pattern.match(path):
            return need
    return Role.ADMIN


def methods_of_fixed(path: str) -> list[str]:
    """Which methods exactly this path takes, if a route without parameters has it."""
    methods = {method for method, fixed in _FIXED if fixed == path}
    # `request_middleware.py` turns HEAD into GET.
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)
