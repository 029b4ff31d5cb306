"""The views Review and Data in a browser, with the actions of a user."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.end_to_end.page import WAIT_S, Page
from tests.service.trained_home import tinted
from tests.support.server import Server


class ReviewPage(Page):
    def review(self, query: str, at_least: int = 1) -> None:
        """Open Review, with the focus in the grid."""
        self.open(f"review?{query}")
        self.until(lambda: len(self.tiles()) >= at_least, f"{at_least} photos")
        self.browser.execute_script("document.querySelector('.grid').focus()")

    def tiles(self) -> list[WebElement]:
        """In the order of the grid."""
        return sorted(self.all(".tile"), key=lambda tile: int(tile.get_attribute("aria-posinset")))

    def num_shown(self) -> int:
        """Photos of the grid, whether or not they are near the window."""
        tiles = self.all(".tile")
        return int(tiles[0].get_attribute("aria-setsize")) if tiles else 0

    def num_selected(self) -> int:
        text = self.one(".label-bar-chosen").get_attribute("textContent")
        return int(text.split()[0]) if text else 0

    def digit_of(self, name: str) -> str:
        """The key that sets a class."""
        self.until(lambda: name in self.classes_with_digits(), f"a digit for {name}")
        return str(1 + self.classes_with_digits().index(name))

    def classes_with_digits(self) -> list[str]:
        chips = self.all(".label-bar-classes .class-chip")[:-1]
        return [str(chip.get_attribute("title")) for chip in chips]

    def keys(self, *keys: str, holding: str | None = None) -> None:
        """Press keys one after the other, while another is held down."""
        actions = ActionChains(self.browser, duration=0)
        if holding:
            actions.key_down(holding)
        for key in keys:
            actions.send_keys(key)
        if holding:
            actions.key_up(holding)
        actions.perform()

    def select(self, num: int) -> None:
        """Select the first photos by keyboard."""
        self.keys(Keys.HOME)
        self.keys(*[Keys.ARROW_RIGHT] * (num - 1), holding=Keys.SHIFT)
        self.until(lambda: self.num_selected() == num, f"{num} selected photos")

    @contextlib.contextmanager
    def narrow(self) -> Iterator[None]:
        """A screen of 360 x 720."""
        size = {"width": 360, "height": 720, "deviceScaleFactor": 1, "mobile": True}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield
        self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def width(self) -> int:
        """Of what can be scrolled to, in pixels."""
        return int(self.browser.execute_script("return document.documentElement.scrollWidth"))

    def answer(self, path: str) -> Any:
        response = self.server.http.get(path)
        response.raise_for_status()
        return response.json()


def label_of(server: Server, example: int) -> str | None:
    """The label that an example has now."""
    name = server.http.get(f"/v1/examples/{example}").json()["label"]
    return None if name is None else str(name)


def label_all(server: Server, photos: Sequence[tuple[str, bytes]]) -> list[int]:
    """Label photos, given with their names, in one batch: one run learns them all. Returns the ids
    of the examples."""
    labels = [
        {"prediction_id": prediction, "label": name}
        for (name, _), prediction in zip(
            photos, predict_all(server, [image for _, image in photos]), strict=True
        )
    ]
    response = server.http.post("/v1/feedback/batch", json={"labels": labels})
    return [int(each["example_id"]) for each in response.raise_for_status().json()["results"]]


def predict_all(server: Server, images: Sequence[bytes]) -> list[str]:
    """Returns the ids of the predictions."""

    def predict(image: bytes) -> str:
        headers = {"Content-Type": "image/png"}
        response = server.http.post("/v1/predict", content=image, headers=headers)
        return str(response.raise_for_status().json()["prediction_id"])

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(predict, images))


def colours(num_of_each: int) -> list[tuple[str, bytes]]:
    """Red and blue scenes with their names."""
    return [
        (name, tinted(name, 1000 * k + i))
        for i in range(num_of_each)
        for k, name in enumerate(("red", "blue"))
    ]


def until_analysed(server: Server, timeout_s: float = 3 * WAIT_S) -> None:
    """Wait until the live version has an analysis, which knows the suspects and the map."""
    deadline = time.monotonic() + timeout_s
    while True:
        analysis = server.http.get("/v1/examples?limit=1").json()["analysis"]
        if analysis and analysis["version"] == server.status()["version"]:
            return
        assert time.monotonic() < deadline, analysis
        time.sleep(0.1)


def until_learnt(server: Server, timeout_s: float = 3 * WAIT_S) -> None:
    """Wait until no label and no run is waiting, and a run has ended."""
    deadline = time.monotonic() + timeout_s
    while True:
        status = server.status()
        if not status["runs"] and not status["labels"]["waiting"] and status["last_run"]:
            return
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
