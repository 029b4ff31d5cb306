"""The page where texts are classified, in a real browser against a real server."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from tests.end_to_end.axe import violations
from tests.end_to_end.review_page import ReviewPage, until_learnt
from tests.support.server import Server
from tests.support.tickets import LabelledText, tickets
from tests.support.wait import wait_until

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

NUM_WORKERS = 1
SETTINGS = {"EVERGREEN_RUN_TRAINER": "true", "EVERGREEN_INPUT": "text"}

# Text that would run if the page inserted it as HTML, and one that turns what follows it around.
_TRICK = '<img src=x onerror="document.title=1">'
_TURNED = "read \u202e this"
_BULK = 12
# Two classes that four texts tell apart.
_INVOICES = (
    "I was charged twice, please refund one payment.",
    "The invoice has the wrong amount.",
    "My credit card was billed for a plan that I cancelled.",
    "Please send me a corrected invoice.",
    "The refund of my payment has not arrived.",
)
_GARDENS = (
    "The tulips in our garden are in full bloom.",
    "Roses need sun and a lot of water.",
    "We planted tomatoes next to the apple trees.",
    "The lawn is green again after the rain.",
    "Bees love the lavender on the balcony.",
)
# The address of each view, and what it shows once it has been read.
_VIEWS = {
    "try": "#ask-text",
    "review?by=predictions": ".tile",
    "review?by=examples": ".tile",
    "learn": ".runs li",
    "data": ".classes tbody tr",
    "example/1": ".history li",
}


def of_class(name: str, num: int, seed: int) -> list[LabelledText]:
    return [each for each in tickets(num * 6, seed) if each.label == name][:num]


@pytest.fixture(scope="module")
def taught(server: Server) -> None:
    """Two classes, and predictions of which one would run as HTML."""
    for each in [*of_class("billing", 12, seed=1), *of_class("praise", 12, seed=1)]:
        server.http.post("/v1/feedback", **each.feedback()).raise_for_status()
    until_learnt(server)
    texts = [each.text for each in tickets(30, seed=2)]
    asked = {"texts": [*texts, f"{_TRICK} was on my invoice", f"{_TURNED} invoice"]}
    items = server.http.post("/v1/predict", json=asked).raise_for_status().json()["items"]
    assert [each["problem"] for each in items if each["problem"]] == []


@pytest.fixture
def page(server: Server, browser: webdriver.Chrome) -> ReviewPage:
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # clear what earlier tests logged
    browser.set_window_size(1280, 900)
    return ReviewPage(browser, server)


def ask(page: ReviewPage, *texts: str) -> None:
    """Predict on texts, in one go, a line for each."""
    known = len(page.all(".card"))
    field = page.at("ask-text")
    page.browser.execute_script("arguments[0].value = arguments[1]", field, "\n".join(texts))
    field.send_keys(" ")
    if len(texts) > 1:
        page.click(page.at("ask-text-lines"))
        assert page.text("ask-send") == f"Predict {len(texts)} texts"
    field.send_keys(Keys.CONTROL, Keys.ENTER)
    page.until(
        lambda: len(page.all('.card[aria-busy="false"]')) == known + len(texts), "predictions"
    )


def teach(page: ReviewPage, label: str, texts: Sequence[str]) -> None:
    page.at("teach-texts").send_keys("\n".join(texts))
    page.at("teach-label").send_keys(label)
    page.click(page.at("teach-send"))
    page.until(lambda: f"stored as {label}" in page.text("teach-result"), "the labels")


def num_labelled(server: Server) -> int:
    labels = server.status()["labels"]
    return sum(labels["examples"].values()) + int(labels["held_out"])


def test_first_texts_lead_to_a_model_of_two_classes(page: ReviewPage, server: Server) -> None:
    page.open()
    first, *others = _INVOICES
    ask(page, first)
    card = page.one(".card")
    assert "It knows no class yet" in card.text
    card.find_element("css selector", "input").send_keys("billing", Keys.ENTER)
    page.until(lambda: "billing is stored as label" in card.text, "the first label")
    teach(page, "billing", others)
    page.until(lambda: "A second class" in page.one(".guide [aria-current=step]").text, "the guide")
    teach(page, "garden", _GARDENS)
    until_learnt(server)
    page.until(lambda: page.text("figure-classes") == "2", "a version of the two classes")
    page.until(lambda: card.find_elements("tag name", "h2"), "the answer, by itself")
    assert card.find_element("tag name", "h2").text == "billing"
    requested = page.requested()
    assert [url for url in requested if not url.startswith(f"{server.url}/")] == []


def test_texts_stay_texts_and_turn_nothing_else(page: ReviewPage, taught: None) -> None:
    page.open()
    ask(page, f"{_TRICK} in my report", f"{_TURNED} report")
    shown = page.all(".card .asked-text")
    assert [each.text for each in shown] == [f"{_TRICK} in my report", f"{_TURNED} report"]
    page.until(lambda: page.all(".card .nearest .excerpt"), "the nearest texts")
    page.review("by=predictions", _BULK)
    page.until(lambda: any(_TRICK in tile.text for tile in page.tiles()), "the text in the list")
    for each in page.all(".excerpt"):
        assert each.value_of_css_property("unicode-bidi") in ("isolate", "plaintext")
    page.keys(Keys.ENTER)
    page.until(lambda: page.all(".whole-text"), "the whole text")
    page.until(lambda: page.one(".whole-text").text != "Reading the text…", "the whole text")
    assert page.browser.title == "Review · Evergreen"
    assert [img for img in page.all("img") if str(img.get_attribute("src")).endswith("/x")] == []
    assert page.console() == []


def test_texts_are_labelled_by_keyboard_and_undone_as_one(
    page: ReviewPage, server: Server, taught: None
) -> None:
    before = num_labelled(server)
    page.review("by=predictions", _BULK)
    num = page.num_shown()
    page.select(_BULK)
    page.keys(page.digit_of("praise"))
    page.until(lambda: page.num_shown() == num - _BULK, "the labelled texts to leave")
    wait_until(lambda: num_labelled(server) == before + _BULK, 10, "the labels to be stored")
    page.keys(Keys.BACKSPACE)
    page.until(lambda: page.num_shown() == num, "the texts to come back")
    wait_until(lambda: num_labelled(server) == before, 10, "the labels to be taken back")
    assert page.console() == []


def test_table_is_imported_by_the_columns_that_are_chosen(
    page: ReviewPage, server: Server, taught: None, tmp_path: Path
) -> None:
    table = tmp_path / "tickets.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "kind", "said"])
        rows.writerows([i, each.label, each.text] for i, each in enumerate(tickets(8, seed=4)))
        rows.writerow([8, "bug", f"The report shows\n{_TRICK}"])
    page.open()
    page.at("ask-text-file").send_keys(str(table))  # a table is handed to the import
    page.until(lambda: page.all("#import-text"), "the choice of columns")
    assert page.at("import-text").get_attribute("value") == "said"
    assert page.at("import-label").get_attribute("value") == "kind"
    page.click(page.at("confirm-yes"))
    page.until(lambda: "finished" in page.one(".imports").text, "the import")
    assert "9 added" in page.one(".imports").text
    formats = {link.text: str(link.get_attribute("href")) for link in page.all(".exports a")}
    assert set(formats) == {"CSV", "JSONL", "Label Studio"}
    exported = server.http.get(formats["CSV"]).raise_for_status()
    assert _TRICK.replace('"', '""') in exported.text
    assert page.console() == []


def test_cards_of_texts_have_no_violation(page: ReviewPage, taught: None) -> None:
    page.open()
    ask(page, "Where is my refund?")
    assert violations(page) == []


@pytest.mark.parametrize("view", _VIEWS)
def test_view_speaks_of_texts_and_has_no_violation(
    page: ReviewPage, taught: None, view: str
) -> None:
    page.open(view)
    page.until(lambda: page.all(_VIEWS[view]), f"the view {view}")
    assert "photo" not in page.one("main").text.lower()
    assert violations(page) == []
