"""The page in a browser, with the actions of a user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.external_programs import require
from tests.support.server import Server

WAIT_S = 20.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # Chromium has none as root, and it loads only what the test serves
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # 64 MB in a container
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def open_browser(profile: Path, *flags: str) -> webdriver.Chrome:
    chromium, driver = (
        require("chromium", "chromium-browser", "google-chrome"),
        require("chromedriver"),
    )
    options = webdriver.ChromeOptions()
    options.binary_location = str(chromium)
    for flag in (*_FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(str(driver)))


class Page:
    """What a user does on the page, and what it shows."""

    def __init__(self, browser: webdriver.Chrome, server: Server) -> None:
        self.browser = browser
        self.server = server

    def open(self, view: str = "") -> None:
        """Load the page anew, at a view such as `versions/1/diff/2`."""
        self.browser.get("about:blank")  # a change after # alone loads nothing
        self.browser.get(f"{self.server.url}/#/{view}" if view else self.server.url)
        self.until(lambda: self.text("live-text").endswith("is live"), "the page to be filled")

    def go(self, place: str) -> None:
        """Go to a view by the navigation."""
        self.click(self.one(f'#views [data-place="{place}"]'))
        self.until(lambda: self.view() == place, f"the view {place}")

    def view(self) -> str:
        """The view of the address, without its parameters."""
        hash_: str = self.browser.execute_script("return location.hash")
        return hash_.removeprefix("#/").partition("?")[0]

    def heading(self) -> str:
        return str(self.one("main h1").text)

    def at(self, identity: str) -> WebElement:
        return self.browser.find_element(By.ID, identity)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, identity: str) -> str:
        return str(self.at(identity).text)

    def until(self, is_so: Any, what: str) -> None:
        # An element may be replaced between finding and reading it: try again.
        wait = WebDriverWait(self.browser, WAIT_S, 0.05, [StaleElementReferenceException])
        wait.until(lambda _: is_so(), f"waited {WAIT_S:.0f} s for {what}")

    def choose(self, *photos: Path) -> None:
        """Choose photos to predict on."""
        known = len(self.all(".card"))
        self.at("ask-files").send_keys("\n".join(map(str, photos)))
        self.until(
            lambda: len(self.all('.card[aria-busy="false"]')) == known + len(photos), "predictions"
        )

    def teach(self, label: str, *photos: Path) -> None:
        field = self.at("teach-label")
        field.clear()
        field.send_keys(label)
        self.at("teach-files").send_keys("\n".join(map(str, photos)))
        self.click(self.at("teach-send"))
        self.until(
            lambda: f"stored as {label}" in self.text("teach-result"),
            f"the result of teaching {label}",
        )

    def press(self, keys: str) -> None:
        """Press keys, whatever has the focus."""
        ActionChains(self.browser).send_keys(keys).perform()

    def focused(self) -> str:
        """The text, or else the name, of what has the focus."""
        element = self.browser.switch_to.active_element
        return str(element.text or element.accessible_name)

    def click(self, element: WebElement) -> None:
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def console(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requested(self) -> list[str]:
        """The URLs that the page asked the network for."""
        events = [json.loads(e["message"])["message"] for e in self.browser.get_log("performance")]
        urls = [
            e["params"]["request"]["url"]
            for e in events
            if e["method"].endswith("requestWillBeSent")
        ]
        return [url for url in urls if not url.startswith(("blob:", "data:", "chrome"))]
