"""A browser as the way in: other sites change nothing, and a person signs in with a key."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from core.access import keys
from core.access.roles import Role
from core.store.store import Store
from tests.end_to_end.page import Page, open_browser
from tests.service.trained_home import tinted
from tests.support.server import Server
from tests.support.wait import wait_until

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

NUM_WORKERS = 2
_EVIL = "evil.example"

# Requests that a browser sends without asking first, and some that it asks for.
_ATTACK = """
<!doctype html><title>attack</title><form id="f" method="post" enctype="text/plain"></form><script>
const to = "%s";
const form = new FormData();
form.append("label", "hacked");
form.append("image", new File([new Uint8Array(50)], "a.png", {type: "image/png"}));
const sent = [
  fetch(to + "/v1/feedback", {method: "POST", mode: "no-cors", body: form}),
  fetch(to + "/v1/retrain", {method: "POST", mode: "no-cors", credentials: "include"}),
  fetch(to + "/v1/predict", {method: "POST", mode: "no-cors", body: new Blob(["x"])}),
  fetch(to + "/predict", {method: "POST", mode: "no-cors", body: form}),
  fetch(to + "/v2/models/evergreen/infer", {method: "POST", mode: "no-cors", body: "{}"}),
  fetch(to + "/v1/champion", {method: "PUT", body: "{}"}),
  fetch(to + "/v1/feedback/1", {method: "DELETE"}),
  fetch(to + "/v1/status", {credentials: "include"}),
];
Promise.allSettled(sent).then((all) => {
  const readable = all.filter((one) => one.status === "fulfilled" && one.value.type !== "opaque");
  document.title = `sent ${all.length}, read ${readable.length}`;
});
</script>
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    started = open_browser(
        tmp_path_factory.mktemp("profile"), f"--host-resolver-rules=MAP {_EVIL} 127.0.0.1"
    )
    yield started
    started.quit()


@pytest.fixture(scope="module")
def foreign_url(server: Server) -> Iterator[str]:
    """A page of the same host, on another port."""
    content = (_ATTACK % server.url).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}/"
        serving.shutdown()


def refusals(server: Server, headers: dict[str, str] | None = None) -> float:
    text = server.http.get("/metrics", headers=headers or {}).text
    lines = [line for line in text.splitlines() if 'code="foreign-origin"' in line]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def test_foreign_page_changes_and_reads_nothing_without_keys(
    server: Server, browser: webdriver.Chrome, foreign_url: str
) -> None:
    browser.get(foreign_url)
    wait_until(lambda: browser.title.startswith("sent"), 20, "the attack to end")
    assert browser.title == "sent 8, read 0"
    # PUT and DELETE were asked for, and never sent.
    assert refusals(server) == 5
    status = server.status()
    assert (status["labels"]["waiting"], status["runs"]) == (0, [])


def test_name_of_an_attacker_that_leads_here_gets_nothing(
    server: Server, browser: webdriver.Chrome
) -> None:
    browser.get(f"http://{_EVIL}:{server.port}/")
    assert "EVERGREEN_HOSTS" in browser.page_source
    assert browser.find_elements(By.ID, "ask-files") == []


def test_person_signs_in_teaches_and_signs_out(
    server: Server, store: Store, browser: webdriver.Chrome, tmp_path: Path, foreign_url: str
) -> None:
    page = Page(browser, server)
    page.open()  # no keys: nothing of signing in
    assert not page.at("sign-in").is_displayed()
    assert not page.at("session").is_displayed()
    with store.db.write() as conn:
        _, key = keys.add(conn, "ann", Role.LABEL, now=time.time())
        _, lesser_key = keys.add(conn, "bob", Role.PREDICT, now=time.time())
    headers = {"Authorization": f"Bearer {key}"}
    wait_until(lambda: server.http.get("/v1/status").status_code == 401, 2, "the key in force")

    browser.get(server.url)
    page.until(lambda: page.at("sign-in").is_displayed(), "the way to sign in")
    assert page.all("#ask") == []
    assert not page.at("views").is_displayed()
    page.at("sign-in-key").send_keys("eg_wrong")
    page.click(page.at("sign-in-send"))
    page.until(lambda: "no key in force" in page.text("sign-in-problem"), "the refusal")
    page.at("sign-in-key").clear()
    page.at("sign-in-key").send_keys(key)
    page.click(page.at("sign-in-send"))
    page.until(lambda: "Signed in as ann" in page.text("session"), "the session")
    page.until(lambda: page.text("live-text").endswith("is live"), "the page to be filled")
    photo = tmp_path / "red.png"
    photo.write_bytes(tinted("red", 1))
    page.teach("red", photo)
    assert key not in browser.execute_script("return document.cookie + document.body.innerHTML")

    # The cookie of this browser is of no use to another page.
    before = refusals(server, headers)
    browser.get(foreign_url)
    wait_until(lambda: browser.title.startswith("sent"), 20, "the attack to end")
    assert browser.title == "sent 8, read 0"
    assert refusals(server, headers) == before + 5
    assert server.http.get("/v1/runs", headers=headers).json()["runs"] == []

    page.open()
    sign_out(page)
    page.at("sign-in-key").send_keys(lesser_key)
    page.click(page.at("sign-in-send"))
    page.until(lambda: "Signed in as bob" in page.text("session"), "the session")
    page.choose(photo)
    assert [place.text for place in page.all("#views a")] == ["Try", "Versions"]
    assert page.all("#teach, .card fieldset") == []
    sign_out(page)
    assert browser.get_cookies() == []


def sign_out(page: Page) -> None:
    page.click(page.at("sign-out"))
    page.until(lambda: page.at("sign-in").is_displayed(), "the way to sign in")
