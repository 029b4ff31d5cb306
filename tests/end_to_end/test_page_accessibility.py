"""axe-core finds no fault in a view of the page: light and dark, wide and narrow."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from tests.end_to_end.review_page import (
    ReviewPage,
    colours,
    label_all,
    predict_all,
    until_analysed,
    until_learnt,
)
from tests.service.trained_home import tinted
from tests.support.external_programs import unavailable
from tests.support.server import Server

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

NUM_WORKERS = 1
SETTINGS = {"EVERGREEN_RUN_TRAINER": "true"}

# The address of each view, and what it shows once it has been read.
_VIEWS = {
    "try": "#ask-files",
    "review?by=doubt": ".tile",
    "review?by=suspect": ".tile",
    "review?by=examples": ".tile",
    "learn": ".runs li",
    "versions": ".version",
    "versions/2/diff/3": ".confusion",
    "example/1": ".history li",
    "data": ".map-legend li",
}
_DIALOGS = {"?": ".keys-help", "/": "#picker-name", Keys.ENTER: ".look-whole"}
_SIZES = ((1280, 900), (360, 760))
_RUN = """
const done = arguments[arguments.length - 1];
const rules = {"focus-order-semantics": {enabled: true}};
const flat = ({id, nodes}) => nodes.map(({html, failureSummary}) => [id, html, failureSummary]);
axe.run(document, {resultTypes: ["violations"], rules})
  .then(({violations}) => violations.flatMap(flat), (error) => [["axe", "", `${error}`]])
  .then(done);
"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, which the package holds."""
    package = importlib.util.find_spec("axe_core_python")
    if package is None or package.origin is None:
        unavailable("needs axe-core-python, of the extra test-tools")
    return Path(package.origin).with_name("axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def learnt(server: Server) -> None:
    """Two versions, a suspect, and predictions without a label."""
    label_all(server, colours(12))
    until_learnt(server)
    label_all(
        server,
        [
            *((n, tinted(n, 500 + i)) for n in ("red", "blue") for i in range(6)),
            ("blue", tinted("red", 4711)),
        ],
    )
    until_learnt(server)
    predict_all(server, [tinted(name, 9000 + i) for i in range(4) for name in ("red", "blue")])
    until_analysed(server)


@pytest.fixture
def page(server: Server, learnt: None, browser: webdriver.Chrome) -> ReviewPage:
    return ReviewPage(browser, server)


def violations(page: ReviewPage, axe: str) -> list[Any]:
    """Of what is shown now, in both colour schemes and widths."""
    page.browser.execute_script(axe)
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
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    return found


@pytest.mark.parametrize("view", _VIEWS)
def test_view_has_no_violation(page: ReviewPage, axe: str, view: str) -> None:
    page.open(view)
    page.until(lambda: page.all(_VIEWS[view]), f"the view {view}")
    assert violations(page, axe) == []


def test_cards_have_no_violation(page: ReviewPage, axe: str, photos: dict[str, list[Path]]) -> None:
    page.open("try")
    page.choose(*photos["red"][:2])
    assert violations(page, axe) == []


@pytest.mark.parametrize("key", _DIALOGS)
def test_dialog_has_no_violation(page: ReviewPage, axe: str, key: str) -> None:
    page.review("by=examples")
    page.keys(key)
    page.until(lambda: page.all(_DIALOGS[key]), "the dialog")
    assert violations(page, axe) == []


def test_violation_is_found(page: ReviewPage, axe: str) -> None:
    page.open("learn")
    page.browser.execute_script(
        "document.querySelector('main').append(document.createElement('input'))"
    )
    assert {problem[2] for problem in violations(page, axe)} == {"label"}
