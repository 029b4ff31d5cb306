"""axe-core, which finds what a view of the page makes hard to use; and what is cut off."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from tests.end_to_end.review_page import ReviewPage
from tests.support.external_programs import unavailable

_SIZES = ((1280, 900), (320, 640))
_RUN = """
const done = arguments[arguments.length - 1];
const rules = {"focus-order-semantics": {enabled: true}};
const flat = ({id, nodes}) => nodes.map(({html, failureSummary}) => [id, html, failureSummary]);
axe.run(document, {resultTypes: ["violations"], rules})
  .then(({violations}) => violations.flatMap(flat), (error) => [["axe", "", `${error}`]])
  .then(done);
"""


@cache
def _source() -> str:
    """Of axe-core, which the package holds."""
    package = importlib.util.find_spec("axe_core_python")
    if package is None or package.origin is None:
        unavailable("needs axe-core-python, of the extra test-tools")
    return Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8")


def violations(page: ReviewPage) -> list[Any]:
    """Of what is shown now, in both colour schemes and widths."""
    page.browser.execute_script(_source())
    found = []
    for width, height in _SIZES:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for scheme in ("light", "dark"):
            features = [
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},  # no colour on its way
            ]
            page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            problems = page.browser.execute_async_script(_RUN)
            found += [(scheme, width, *problem) for problem in problems]
        if (needed := page.width()) > width:
            found.append(("any", width, "width", "", f"{needed} pixels are needed"))
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    return found
