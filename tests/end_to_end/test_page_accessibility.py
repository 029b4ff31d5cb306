"""axe-core finds no fault in a view of the page, light and dark, and it fits a narrow screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from tests.end_to_end.axe import violations
from tests.end_to_end.review_page import (
    ReviewPage,
    colours,
    label_all,
    predict_all,
    until_analysed,
    until_learnt,
)
from tests.service.trained_home import tinted
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


@pytest.mark.parametrize("view", _VIEWS)
def test_view_has_no_violation(page: ReviewPage, view: str) -> None:
    page.open(view)
    page.until(lambda: page.all(_VIEWS[view]), f"the view {view}")
    assert violations(page) == []


def test_cards_have_no_violation(page: ReviewPage, photos: dict[str, list[Path]]) -> None:
    page.open("try")
    page.choose(*photos["red"][:2])
    assert violations(page) == []


@pytest.mark.parametrize("key", _DIALOGS)
def test_dialog_has_no_violation(page: ReviewPage, key: str) -> None:
    page.review("by=examples")
    page.keys(key)
    page.until(lambda: page.all(_DIALOGS[key]), "the dialog")
    assert violations(page) == []


def test_violation_is_found(page: ReviewPage) -> None:
    page.open("learn")
    page.browser.execute_script(
        "document.querySelector('main').append(document.createElement('input'))"
    )
    assert {problem[2] for problem in violations(page)} == {"label"}


def test_what_is_too_wide_is_found(page: ReviewPage) -> None:
    page.open("learn")
    page.browser.execute_script("document.querySelector('main').style.minWidth = '400px'")
    assert [(width, what) for _, width, what, *_ in violations(page)] == [(320, "width")]
