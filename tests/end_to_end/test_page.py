"""The page at `/`, in a real browser against a real server."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.end_to_end.page import WAIT_S, Page, open_browser
from tests.service.trained_home import UNFAMILIAR, tinted
from tests.support.server import Server

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

NUM_WORKERS = 2
SETTINGS = {"EVERGREEN_RUN_TRAINER": "true"}

_NUM_OF_EACH = 12
# Text that would run if the page inserted it as HTML.
_TRICK = '<img src=x onerror="document.title=1">'


# The events of a drop and of a paste.
_HAND_OVER = """
const [way, encoded] = arguments;
const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
const held = new DataTransfer();
held.items.add(new File([bytes], "held.png", { type: "image/png" }));
const options = { bubbles: true, cancelable: true };
if (way === "drop") {
  document.getElementById("ask-drop").dispatchEvent(
    new DragEvent("drop", { ...options, dataTransfer: held }));
} else {
  document.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: held }));
}
"""


@pytest.fixture(scope="module")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    browser = open_browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture
def page(server: Server, _browser: webdriver.Chrome) -> Page:
    for kind in ("browser", "performance"):
        _browser.get_log(kind)  # clear what earlier tests logged
    opened = Page(_browser, server)
    opened.open()
    return opened


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("photos")
    found: dict[str, list[Path]] = {}
    for k, name in enumerate(("red", "blue")):
        found[name] = [folder / f"{name}-{i}.png" for i in range(_NUM_OF_EACH)]
        for i, path in enumerate(found[name]):
            path.write_bytes(tinted(name, 1000 * k + i))
    return found


def test_page_corrects_teaches_and_rolls_back(
    page: Page, server: Server, photos: dict[str, list[Path]], tmp_path: Path
) -> None:
    assert page.text("live-text") == "Version 1 is live"

    page.choose(photos["red"][0])
    card = page.one(".card")
    first_guess = card.find_element(By.TAG_NAME, "h3").text
    assert first_guess
    assert "version 1" in card.text

    field = card.find_element(By.CSS_SELECTOR, "input[type=text]")
    field.send_keys("red")
    field.submit()
    thanks = card.find_element(By.CLASS_NAME, "thanks")
    page.until(thanks.is_displayed, "the thanks")
    assert "red is stored as label" in thanks.text
    assert labelled(server) == 1

    page.click(thanks.find_element(By.TAG_NAME, "button"))
    page.until(lambda: not thanks.is_displayed(), "the label to be taken back")
    assert labelled(server) == 0

    page.click(card.find_element(By.CLASS_NAME, "correct"))
    page.until(thanks.is_displayed, "the thanks")
    assert f"{first_guess} is stored" in thanks.text
    page.click(thanks.find_element(By.TAG_NAME, "button"))
    page.until(lambda: not thanks.is_displayed(), "the label to be taken back")

    for name, files in photos.items():
        page.teach(name, *files)
        assert f"{_NUM_OF_EACH} photos stored as {name}" in page.text("teach-result")
    page.until(lambda: page.text("live-text") != "Version 1 is live", "another version")
    until_idle(server)
    newest = server.status()["version"]
    page.until(lambda: page.text("live-text") == f"Version {newest} is live", "the newest version")
    assert page.text("figure-classes") == "2"
    page.until(lambda: f"version {newest}" in card.find_element(By.CLASS_NAME, "again").text, "it")

    page.click(card.find_element(By.CLASS_NAME, "again"))
    page.until(lambda: card.find_element(By.TAG_NAME, "h3").text == "red", "the new answer")
    assert f"was {first_guess} in version 1" in card.text

    (tmp_path / "white.png").write_bytes(UNFAMILIAR)
    page.choose(tmp_path / "white.png")
    assert "unlike everything labelled" in page.one(".card").text
    assert "unlike" not in card.text

    page.until(lambda: page.all(f'[data-version="{newest}"].champion'), "the list of versions")
    page.click(page.one('[data-version="1"] button'))
    page.click(page.at("confirm-yes"))
    page.until(lambda: page.text("live-text") == "Version 1 is live", "the rollback")
    page.until(lambda: page.all('[data-version="1"].champion'), "the mark of the champion")
    assert httpx.get(f"{server.url}/v1/champion").json()["version"] == 1

    assert page.console() == []
    requested = page.requested()
    assert len(requested) > 10
    assert [url for url in requested if not url.startswith(f"{server.url}/")] == []


def test_text_from_people_stays_text(page: Page, photos: dict[str, list[Path]]) -> None:
    page.teach(_TRICK, photos["red"][0])
    page.until(lambda: _TRICK in page.text("labels"), "the label in the tally")
    page.choose(photos["blue"][0])
    assert _TRICK in page.one(".card .chips").text
    assert page.browser.title == "Evergreen"
    assert [img for img in page.all("img") if img.get_attribute("src").endswith("/x")] == []
    page.click(page.one("#teach-result button"))
    page.until(lambda: "taken back" in page.text("teach-result"), "the label to be taken back")
    assert page.console() == []


def test_file_that_is_no_photo_is_refused_with_the_message_of_the_service(
    page: Page, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    page.choose(tmp_path / "notes.txt")
    assert "not a readable image" in page.one(".card .problem").text
    page.teach("red", tmp_path / "notes.txt")
    assert "notes.txt: the body is not a readable image" in page.text("teach-problems")


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_photos_can_be_dropped_or_pasted(
    way: str, page: Page, photos: dict[str, list[Path]]
) -> None:
    encoded = base64.b64encode(photos["red"][2].read_bytes()).decode()
    page.browser.execute_script(_HAND_OVER, way, encoded)
    page.until(lambda: page.all('.card[aria-busy="false"] h3'), "the prediction")
    assert page.one(".card img").get_attribute("alt") == "held.png"
    assert page.console() == []


def test_controls_have_names_and_fit_a_narrow_screen(
    page: Page, photos: dict[str, list[Path]]
) -> None:
    page.choose(photos["blue"][1])
    controls = [e for e in page.all("button, input, a") if e.is_displayed()]
    assert len(controls) > 10
    # The end of a run may hide a control meanwhile, which then needs no name.
    nameless = [e for e in controls if not e.accessible_name and e.is_displayed()]
    assert [e.get_attribute("outerHTML") for e in nameless] == []
    size = {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    width = page.browser.execute_script("return document.documentElement.scrollWidth")
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width == 320


def test_files_of_the_page_are_cached_until_they_change(server: Server) -> None:
    for path in ("/", "/page/app.js", "/page/style.css"):
        first = httpx.get(f"{server.url}{path}")
        assert first.status_code == 200
        assert first.headers["Cache-Control"] == "no-cache"
        assert "default-src 'self'" in first.headers["Content-Security-Policy"]
        again = httpx.get(f"{server.url}{path}", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert httpx.get(f"{server.url}/page/..%2fapp.py").status_code == 404


def labelled(server: Server) -> int:
    labels = server.status()["labels"]
    return sum(labels["examples"].values()) + int(labels["held_out"])


def until_idle(server: Server) -> None:
    """Wait until no label and no run is waiting, so that the version stays."""
    deadline = time.monotonic() + WAIT_S
    while True:
        status = server.status()
        if not status["runs"] and not status["labels"]["waiting"]:
            return
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
