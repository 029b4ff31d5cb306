"""The page at `/`, in a real browser against a real server."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By

from tests.end_to_end.page import Page
from tests.end_to_end.review_page import until_learnt
from tests.service.trained_home import UNFAMILIAR
from tests.support.server import Server

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

NUM_WORKERS = 2
SETTINGS = {"EVERGREEN_RUN_TRAINER": "true"}

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


def test_page_corrects_teaches_and_rolls_back(
    page: Page, server: Server, photos: dict[str, list[Path]], tmp_path: Path
) -> None:
    assert page.text("live-text") == "Version 1 is live"

    page.choose(photos["red"][0])
    card = page.one(".card")
    first_guess = card.find_element(By.TAG_NAME, "h2").text
    assert first_guess
    assert "version 1" in card.text

    field = card.find_element(By.CSS_SELECTOR, "input[type=text]")
    field.send_keys("red")
    field.submit()
    thanks = card.find_element(By.CLASS_NAME, "thanks")
    page.until(lambda: "red is stored as label" in thanks.text, "the thanks")
    assert labelled(server) == 1

    page.click(thanks.find_element(By.TAG_NAME, "button"))
    page.until(lambda: not thanks.is_displayed(), "the label to be taken back")
    page.until(lambda: labelled(server) == 0, "the label to be taken back by the server")

    page.click(card.find_element(By.CLASS_NAME, "correct"))
    page.until(lambda: f"{first_guess} is stored" in thanks.text, "the thanks")
    page.click(thanks.find_element(By.TAG_NAME, "button"))
    page.until(lambda: not thanks.is_displayed(), "the label to be taken back")

    for name, files in photos.items():
        page.teach(name, *files)
        assert f"{len(files)} photos stored as {name}" in page.text("teach-result")
    until_learnt(server)
    newest = server.status()["version"]
    assert newest > 1
    page.until(lambda: page.text("live-text") == f"Version {newest} is live", "the newest version")
    assert page.text("figure-classes") == "2"
    # The photo is answered again by itself, and says what changed.
    page.until(lambda: f"version {newest}" in card.text, "the new answer")
    assert card.find_element(By.TAG_NAME, "h2").text == "red"

    (tmp_path / "white.png").write_bytes(UNFAMILIAR)
    page.choose(tmp_path / "white.png")
    assert "unlike everything labelled" in page.one(".card").text
    assert "unlike" not in card.text

    page.go("versions")
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
    assert page.browser.title == "Try · Evergreen"
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
    page.until(lambda: page.all('.card[aria-busy="false"] h2'), "the prediction")
    assert page.one(".card img").get_attribute("alt") == "held.png"
    assert page.console() == []


def labelled(server: Server) -> int:
    labels = server.status()["labels"]
    return sum(labels["examples"].values()) + int(labels["held_out"])
