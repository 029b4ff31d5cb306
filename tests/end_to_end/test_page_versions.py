"""Learn and Versions on the page: runs, two versions compared, one photo with its history."""

from __future__ import annotations

import time

import pytest
from selenium.webdriver.common.by import By

from core.inputs.kind import Limits
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.store.store import Store
from tests.end_to_end.page import Page
from tests.service.trained_home import COLOURS, tinted
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

NUM_WORKERS = 1
SETTINGS = {"EVERGREEN_RUN_TRAINER": "true"}

# Text that would run if the page inserted it as HTML.
TRICK = '<img src=x onerror="document.title=1">'
_NUM_OF_EACH = 24
_TRAINED_WITHIN_S = 60.0


@pytest.fixture(scope="module", autouse=True)
def _trained(server: Server, store: Store) -> None:
    """Two versions of two classes, one of them with a name that is a trick."""
    for k, name in enumerate(COLOURS):
        for i in range(_NUM_OF_EACH):
            label = TRICK if name == "blue" else name
            image = tinted(name, 1000 * k + i)
            intake.label_image(store, image, LabelRequest(label), Limits(), time.time())
    wait_until(lambda: server.status()["version"] > 1, _TRAINED_WITHIN_S, "a version")
    wait_until(lambda: not server.status()["runs"], _TRAINED_WITHIN_S, "the run to end")


def test_learn_retrains_and_lists_the_run_with_its_reason(page: Page, server: Server) -> None:
    page.go("learn")
    page.until(lambda: page.all(".runs li"), "the runs")
    known = page.one(".runs li").get_attribute("data-run")
    page.click(page.at("retrain"))
    page.until(
        lambda: (
            page.one(".runs li").get_attribute("data-run") != known
            and page.one(".runs li").text.startswith(("promoted", "held back"))
        ),
        "the run to be listed",
    )
    assert server.status()["last_run"]["reason"][1:] in page.one(".runs li").text
    page.until(lambda: page.all(".tally li"), "the classes")
    assert {e.text for e in page.all(".tally .name")} == {"red", TRICK}
    assert page.text("retrain-problem") == ""
    assert page.browser.title == "Learn · Evergreen"


def test_two_versions_are_compared_down_to_their_photos(page: Page) -> None:
    page.go("versions")
    page.until(lambda: page.at("compare").is_displayed(), "the comparison")
    page.click(page.at("compare"))
    page.until(lambda: page.all(".confusion"), "the confusion of both")
    assert len(page.all(".confusion")) == 2
    assert TRICK in page.one(".confusion").text
    assert page.all("main img[src='x']") == []
    page.click(page.all(".confusion a")[-1])
    page.until(lambda: page.view() == "review", "the photos of a cell")
    assert "predicted=" in page.browser.current_url
    assert page.browser.title == "Review · Evergreen"


def test_version_is_rolled_back_and_promoted(page: Page, server: Server) -> None:
    champion = server.http.get("/v1/champion").json()
    newest, previous = champion["version"], champion["previous"]
    page.go("versions")
    label = f"Roll back to version {previous}"
    page.until(lambda: page.text("roll-back") == label, "the way back")
    page.click(page.at("roll-back"))
    page.click(page.at("confirm-yes"))
    page.until(lambda: page.text("live-text") == f"Version {previous} is live", "the rollback")
    page.until(lambda: page.all(f'[data-version="{previous}"].champion'), "the mark")
    page.click(page.one(f'[data-version="{newest}"] button'))
    page.click(page.at("confirm-yes"))
    page.until(lambda: page.text("live-text") == f"Version {newest} is live", "the promotion")
    assert server.http.get("/v1/champion").json()["version"] == newest


def test_photo_shows_its_history_and_takes_another_label(page: Page, store: Store) -> None:
    page.open("example/1")
    page.until(lambda: page.all(".history li"), "the history")
    assert page.heading() == "Photo 1"
    image = page.one("img.full-photo")
    page.until(lambda: int(image.get_attribute("naturalWidth") or 0) > 0, "the photo")
    page.at("relabel").send_keys(TRICK)
    page.at("relabel").submit()
    page.until(lambda: len(page.one(".history").find_elements(By.TAG_NAME, "li")) == 2, "the label")
    assert page.one(".large").text == TRICK
    assert page.browser.title == "Photo 1 · Evergreen"
    page.open("example/999999")
    page.until(lambda: page.all("main .problem") and page.one("main .problem").text, "the problem")
