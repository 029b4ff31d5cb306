"""Data: classes, the map, import and export, in a real browser against a real server."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.end_to_end.review_page import (
    ReviewPage,
    colours,
    label_all,
    until_analysed,
    until_learnt,
)
from tests.service.trained_home import tinted
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

NUM_WORKERS = 1
SETTINGS = {"EVERGREEN_RUN_TRAINER": "true"}

_TRICK = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def _labelled(server: Server) -> None:
    tricks = [(_TRICK, tinted("red", 4711 + i)) for i in range(3)]
    label_all(server, [*colours(10), *tricks])
    until_learnt(server)
    until_analysed(server)


@pytest.fixture
def page(server: Server, _labelled: None, browser: webdriver.Chrome) -> ReviewPage:
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # clear what earlier tests logged
    browser.set_window_size(1280, 1000)
    opened = ReviewPage(browser, server)
    opened.open("data")
    opened.until(lambda: opened.all(".classes tbody tr"), "the classes")
    return opened


def names(page: ReviewPage) -> list[str]:
    return [link.text for link in page.all(".classes tbody th a")]


def act(page: ReviewPage, action: str, name: str) -> None:
    buttons = page.all(".classes tbody button")
    wanted = [each for each in buttons if each.accessible_name == f"{action} {name}"]
    page.click(wanted[0])


def undo(page: ReviewPage) -> None:
    page.until(lambda: page.all(".toast button"), "the undo")
    page.click(page.all(".toast button")[-1])


def examples_of(server: Server) -> dict[str, int]:
    classes = server.http.get("/v1/classes").json()["classes"]
    return {each["name"]: each["examples"] for each in classes}


def test_classes_are_renamed_merged_and_deleted_and_each_undone(
    page: ReviewPage, server: Server
) -> None:
    before = examples_of(server)

    act(page, "Rename", "red")
    page.until(lambda: page.at("dialog-field").is_displayed(), "the dialog")
    page.keys("crimson", Keys.ENTER)
    page.until(lambda: "crimson" in names(page), "the new name")
    assert "red" not in names(page)
    undo(page)
    page.until(lambda: "red" in names(page), "the old name")

    act(page, "Merge", "red")
    page.until(lambda: page.all("#picker-name"), "the picker")
    page.keys("blue", Keys.ENTER)
    page.until(lambda: "red" not in names(page), "the merge")
    assert examples_of(server)["blue"] == before["red"] + before["blue"]
    undo(page)
    page.until(lambda: "red" in names(page), "the old class")

    act(page, "Delete", "blue")
    page.click(page.at("confirm-yes"))
    page.until(lambda: "blue" not in names(page), "the deletion")
    undo(page)
    page.until(lambda: "blue" in names(page), "the old class")
    wait_until(lambda: examples_of(server) == before, 10, "all labels as before")
    assert page.console() == []


def test_examples_of_a_class_are_counted_once(page: ReviewPage, server: Server) -> None:
    total = sum(examples_of(server).values())
    held_out = int(server.status()["labels"]["held_out"])
    cells = [page.all(f'.classes [data-name="{name}"]') for name in ("to train on", "held out")]
    assert held_out > 0
    assert [sum(int(cell.text) for cell in column) for column in cells] == [
        total - held_out,
        held_out,
    ]


def test_zip_is_imported_with_a_report_and_exported(page: ReviewPage, tmp_path: Path) -> None:
    archive = tmp_path / "greens.zip"
    with zipfile.ZipFile(archive, "w") as written:
        for i in range(4):
            written.writestr(f"photos/red/new-{i}.png", tinted("red", 7000 + i))
            written.writestr(f"photos/blue/new-{i}.png", tinted("blue", 8000 + i))
        written.writestr("photos/blue/notes.png", b"no image")
    page.at("import-file").send_keys(str(archive))
    page.until(lambda: "finished" in section(page, "greens.zip"), "the import")
    assert "8 added" in section(page, "greens.zip")
    assert "notes.png" in page.one(".import .problems").get_attribute("textContent")

    jsonl = next(a for a in page.all(".exports a") if a.text == "JSONL")
    response = page.server.http.get(str(jsonl.get_attribute("href")))
    with zipfile.ZipFile(io.BytesIO(response.raise_for_status().content)) as exported:
        listed = [name for name in exported.namelist() if name.endswith(".jsonl")]
        lines = [json.loads(line) for name in listed for line in exported.read(name).splitlines()]
    assert sum(line["label"] == "blue" for line in lines) >= 14


def section(page: ReviewPage, name: str) -> str:
    found = [each.text for each in page.all(".import") if name in each.text]
    return found[0] if found else ""


def test_lasso_on_the_map_opens_the_photos_in_the_grid(page: ReviewPage) -> None:
    page.until(lambda: page.one(".map").is_displayed(), "the map")
    assert _TRICK in page.one(".map-legend").text
    canvas = page.one(".map")
    page.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    width, height = canvas.size["width"], canvas.size["height"]
    actions = ActionChains(page.browser, duration=30)
    actions.move_to_element_with_offset(canvas, 3 - width // 2, 3 - height // 2).click_and_hold()
    for x, y in ((1, -1), (1, 1), (-1, 1)):
        dx, dy = x * (width // 2 - 3), y * (height // 2 - 3)
        actions.move_to_element_with_offset(canvas, dx, dy)
    actions.release().perform()
    total = len(map_of(page)["ids"])
    page.until(lambda: f"{total} photos chosen" in page.one(".map-found").text, "the choice")
    page.keys(Keys.ENTER)  # the button has the focus
    page.until(lambda: "ids=" in page.browser.current_url, "the ids in the address")
    page.until(lambda: page.num_shown() == total, "the photos")
    assert page.console() == []


def map_of(page: ReviewPage) -> Any:
    return page.answer("/v1/map")


def test_name_of_a_class_stays_text(page: ReviewPage) -> None:
    assert _TRICK in names(page)
    images = page.browser.find_elements(By.TAG_NAME, "img")
    assert [each for each in images if str(each.get_attribute("src")).endswith("/x")] == []
    assert page.browser.title.startswith("Data")
    assert page.console() == []
