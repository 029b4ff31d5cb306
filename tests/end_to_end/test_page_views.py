"""The views of the page: their addresses, the focus, and what a lost server leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.end_to_end.page import Page
from tests.support.server import Server

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

NUM_WORKERS = 1
SETTINGS = {"EVERGREEN_RUN_TRAINER": "true"}


def test_first_start_leads_to_a_model_of_two_classes(
    page: Page, photos: dict[str, list[Path]]
) -> None:
    current = ".guide [aria-current=step]"
    assert "A first class" in page.one(current).text
    page.teach("red", *photos["red"][:4])
    page.until(lambda: "A second class" in page.one(current).text, "the second step")
    assert "red: " in page.one(".guide .done").text
    page.teach("blue", *photos["blue"][:4])
    page.until(lambda: page.text("figure-classes") == "2", "a version of the two classes")
    page.until(lambda: not page.one(".guide").is_displayed(), "the guide to go")
    page.choose(photos["blue"][8])
    assert page.one(".card h2").text in ("red", "blue")
    assert page.console() == []


def test_views_have_addresses_and_their_headings_the_focus(page: Page) -> None:
    assert page.heading() == "Try"
    assert page.focused() != "Try"  # a page that opens takes no focus
    for place in ("learn", "versions", "review", "data"):
        page.go(place)
        assert page.heading().lower() == place
        assert page.focused() == page.heading()
        assert page.browser.title == f"{page.heading()} · Evergreen"
        assert page.one("[aria-current=page]").text == page.heading()
    page.browser.back()
    page.until(lambda: page.heading() == "Review", "the view before")
    assert page.focused() == "Review"
    page.browser.forward()
    page.until(lambda: page.heading() == "Data", "the view after")
    page.open("nothing/like/this")
    assert page.heading() == "Try"


def test_cards_stay_while_other_views_are_shown(page: Page, photos: dict[str, list[Path]]) -> None:
    page.choose(*photos["red"][:2])
    page.go("learn")
    assert page.all(".card") == []
    page.go("try")
    assert len(page.all(".card")) == 2


def test_card_is_labelled_and_undone_by_keyboard(page: Page, photos: dict[str, list[Path]]) -> None:
    page.choose(photos["red"][5])
    card = page.one(".card")
    guess = card.find_element(By.TAG_NAME, "h2").text
    other = card.find_element(By.CSS_SELECTOR, ".choice span").text
    page.browser.execute_script("arguments[0].focus()", card)
    thanks = card.find_element(By.CLASS_NAME, "thanks")
    for key, label in (("a", guess), ("1", other), ("x", "none of these")):
        page.press(key)
        page.until(lambda label=label: f"{label} is stored" in thanks.text, f"{label} by {key}")
        page.press(Keys.BACKSPACE)
        page.until(lambda: not thanks.is_displayed(), f"{label} to be taken back")
    # In a field, the same keys are letters.
    field = card.find_element(By.CSS_SELECTOR, "input[type=text]")
    field.send_keys("ax1")
    assert field.get_attribute("value") == "ax1"
    assert not thanks.is_displayed()


def test_labels_given_while_the_server_is_away_are_sent_when_it_is_back(
    page: Page, server: Server, photos: dict[str, list[Path]]
) -> None:
    page.choose(*photos["red"][6:8])
    before = server.http.get("/v1/status").json()["labels"]
    server.stop()
    try:
        page.until(lambda: not page.text("live-text").endswith("is live"), "the lost connection")
        for card in page.all(".card"):
            page.browser.execute_script("arguments[0].focus()", card)
            page.press("a")
            assert "is on its way to the server" in card.find_element(By.CLASS_NAME, "thanks").text
        page.until(lambda: page.text("outbox") == "2 labels wait for the server", "the outbox")
        page.go("learn")
        page.go("try")
    finally:
        server.start()
    page.until(lambda: page.text("live-text").endswith("is live"), "the server to be back")
    for card in page.all(".card"):
        thanks = card.find_element(By.CLASS_NAME, "thanks")
        page.until(lambda thanks=thanks: "is stored as label" in thanks.text, "the label")
    assert not page.at("outbox").is_displayed()
    after = server.http.get("/v1/status").json()["labels"]
    count = [sum(labels["examples"].values()) + labels["held_out"] for labels in (before, after)]
    assert count[1] == count[0] + 2
    page.console()  # the browser logs each refused connection
