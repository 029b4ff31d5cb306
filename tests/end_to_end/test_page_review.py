"""Review: many labels at once by keyboard and pointer, in a real browser against a real server."""

from __future__ import annotations

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.end_to_end.review_page import (
    ReviewPage,
    colours,
    label_all,
    label_of,
    predict_all,
    until_analysed,
    until_learnt,
)
from tests.service.trained_home import tinted
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

NUM_WORKERS = 1
SETTINGS = {"EVERGREEN_RUN_TRAINER": "true"}

_NUM_PREDICTED = 40
_BULK = 20
# Text that would run if the page inserted it as HTML.
_TRICK = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def planted(server: Server) -> int:
    """Two classes, kept predictions, and one photo with the wrong label: its example."""
    examples = label_all(server, [*colours(12), ("blue", tinted("red", 4711))])
    until_learnt(server)
    names = ("red", "blue")
    predict_all(server, [tinted(names[i % 2], 9000 + i) for i in range(_NUM_PREDICTED)])
    until_analysed(server)
    return examples[-1]


@pytest.fixture
def page(server: Server, planted: int, browser: webdriver.Chrome) -> ReviewPage:
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # clear what earlier tests logged
    browser.set_window_size(1280, 900)
    return ReviewPage(browser, server)


def num_labelled(server: Server) -> int:
    labels = server.status()["labels"]
    return sum(labels["examples"].values()) + int(labels["held_out"])


def test_twenty_photos_are_labelled_by_keyboard_and_undone_as_one(
    page: ReviewPage, server: Server
) -> None:
    before = num_labelled(server)
    page.review("by=predictions", _BULK)
    num = page.num_shown()
    page.select(_BULK)
    page.keys(page.digit_of("red"))
    page.until(lambda: page.num_shown() == num - _BULK, "the labelled photos to leave")
    wait_until(lambda: num_labelled(server) == before + _BULK, 10, "the labels to be stored")
    assert page.num_selected() == 0
    page.until(lambda: f"{_BULK} labelled" in page.one(".sitting").text, "the count")
    batch = page.answer("/v1/batches?limit=1")["batches"][0]

    page.keys(Keys.BACKSPACE)
    page.until(lambda: page.num_shown() == num, "the photos to come back")
    wait_until(lambda: num_labelled(server) == before, 10, "the labels to be taken back")
    assert page.answer("/v1/batches?limit=1")["batches"][0]["id"] == batch["id"]
    assert page.console() == []
    requested = page.requested()
    assert [url for url in requested if not url.startswith(f"{server.url}/")] == []


def test_planted_wrong_label_is_the_first_suspect_and_mended_by_one_key(
    page: ReviewPage, server: Server, planted: int
) -> None:
    page.review("by=suspect")
    first = page.tiles()[0]
    assert first.get_attribute("data-key") == f"example:{planted}"
    assert "blue" in first.text
    assert "model: red" in first.text
    page.keys("a")
    wait_until(lambda: label_of(server, planted) == "red", 10, "the label to be mended")
    page.keys(Keys.BACKSPACE)
    wait_until(lambda: label_of(server, planted) == "blue", 10, "the label to be taken back")


def test_labels_given_while_the_server_is_away_are_sent_when_it_is_back(
    page: ReviewPage, server: Server
) -> None:
    page.review("by=predictions", 8)
    num = page.num_shown()
    before = num_labelled(server)
    digit = page.digit_of("blue")
    server.stop()
    try:
        page.select(3)
        page.keys(digit)
        page.keys(digit)  # the focused one, alone
        page.until(lambda: page.num_shown() == num - 4, "the photos to leave")
        page.until(lambda: "4 labels wait for the server" in page.text("outbox"), "the message")
    finally:
        server.start()
    page.until(lambda: not page.at("outbox").is_displayed(), "the labels to be sent")
    wait_until(lambda: num_labelled(server) == before + 4, 10, "the labels to be stored")
    page.keys(Keys.BACKSPACE, Keys.BACKSPACE)
    page.until(lambda: page.num_shown() == num, "the photos to come back")
    wait_until(lambda: num_labelled(server) == before, 10, "the labels to be taken back")


def test_name_of_a_new_class_stays_text(page: ReviewPage, server: Server) -> None:
    page.review("by=predictions", 2)
    num = page.num_shown()
    page.keys("/")
    page.until(lambda: page.all("#picker-name"), "the picker")
    page.keys(_TRICK, Keys.ENTER)
    page.until(lambda: _TRICK in page.classes_with_digits(), "the class with a digit")
    assert _TRICK in page.one(".label-bar-classes").text
    assert page.browser.title.startswith("Review")
    assert [each for each in page.all("img") if each.get_attribute("src").endswith("/x")] == []
    page.keys(Keys.BACKSPACE)
    page.until(lambda: page.num_shown() == num, "the photo to come back")
    assert page.console() == []


def test_pointer_selects_a_range_and_a_rectangle(page: ReviewPage) -> None:
    page.review("by=examples", 8)
    num = page.num_shown()
    tiles = page.tiles()
    actions = ActionChains(page.browser, duration=0)
    actions.click(tiles[0]).key_down(Keys.SHIFT).click(tiles[4]).key_up(Keys.SHIFT).perform()
    assert page.num_selected() == 5
    actions = ActionChains(page.browser, duration=0)
    actions.key_down(Keys.CONTROL).click(tiles[1]).key_up(Keys.CONTROL).perform()
    assert page.num_selected() == 4

    actions = ActionChains(page.browser, duration=50)
    actions.move_to_element(tiles[0]).click_and_hold().move_to_element(tiles[2]).release()
    actions.perform()
    assert page.num_selected() == 3
    page.keys("a", holding=Keys.CONTROL)
    assert page.num_selected() == num
    page.keys(Keys.ESCAPE)
    assert page.num_selected() == 0


def test_filters_are_in_the_address_and_last_a_reload(page: ReviewPage) -> None:
    page.review("by=examples&held_out=false&sort=oldest")
    num = page.num_shown()
    assert 0 < num <= 25
    page.one('.filters select[name="class"] option[value="red"]').click()
    page.until(lambda: "class=red" in page.browser.current_url, "the filter in the address")
    page.until(lambda: 0 < page.num_shown() < num, "fewer photos")
    fewer = page.num_shown()
    assert all("red" in tile.text for tile in page.tiles())
    page.browser.refresh()
    page.until(lambda: page.num_shown() == fewer, "the same photos")


def test_keys_are_listed(page: ReviewPage) -> None:
    page.review("by=examples")
    page.keys("?")
    page.until(lambda: "Accept the model's answer" in page.text("dialog"), "the list of keys")


def test_list_that_is_shown_is_in_view_on_a_narrow_screen(page: ReviewPage) -> None:
    with page.narrow():
        page.review("by=examples")
        current = page.one(".sources [aria-current]").rect
        tabs = page.one(".sources").rect
    assert current["x"] >= tabs["x"]
    assert current["x"] + current["width"] <= tabs["x"] + tabs["width"] + 1
