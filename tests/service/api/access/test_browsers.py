"""Pages of other sites change nothing here, with keys and without."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from service.api.access.browsers import Browsers
from service.api.access.route_roles import ROUTES
from service.api.app import create_app
from tests.service import assert_problem
from tests.service.conftest import local_client

pytestmark = pytest.mark.slow  # not in `make check`

CHANGES = [(method, path) for method, path in ROUTES if method != "GET"]
FOREIGN = (
    {"Origin": "http://evil.example"},
    {"Origin": "http://127.0.0.1:8080"},  # another port is another origin
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
)
OWN = (
    {},
    {"Origin": "http://127.0.0.1"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    # A proxy that replaces the Host, and ends TLS.
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://cats.example.org"},
)


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_page_of_another_site_changes_nothing_on_any_route(
    client: TestClient, method: str, path: str
) -> None:
    for headers in FOREIGN:
        refused = client.request(method, path, headers=headers)
        assert refused.status_code == 403, headers
        assert "EVERGREEN_CORS_ORIGINS" in refused.text


def test_own_page_and_programs_do(client: TestClient) -> None:
    for headers in OWN:
        assert client.post("/v1/retrain", headers=headers).status_code == 409  # no labels yet


def test_reading_is_left_to_the_browser(client: TestClient) -> None:
    response = client.get("/v1/status", headers={"Origin": "http://evil.example"})
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:3000", "LOCALHOST", "a.localhost:1", "127.0.0.1:3000"]
)
def test_this_machine_has_these_names(client: TestClient, host: str) -> None:
    assert client.get("/v1/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/status", "/", "/page/app.js", "/metrics", "/nothing"])
def test_name_that_leads_here_but_is_not_ours_is_refused(client: TestClient, path: str) -> None:
    """DNS rebinding: to the browser, the page of evil.example has the same origin as we."""
    refused = client.get(path, headers={"Host": "evil.example:3000"})
    assert_problem.problem(refused, 421, "unknown-host", "evil.example", "EVERGREEN_HOSTS")


def test_probes_answer_under_any_name(client: TestClient) -> None:
    assert client.get("/v2/health/live", headers={"Host": "lb.example"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        (b"cats.example.org", True),
        (b"CATS.example.org:443", True),
        (b"cats.example.org.", True),
        (b"dogs.example.org", False),
        (b"cats.example.org.evil.example", False),
        (b"[::1]:3000", True),
        (b"[2001:db8::1]", True),
        (b"192.0.2.7", True),
        (b"192.0.2.7.evil.example", False),
        (b"localhost.evil.example", False),
        (b"", False),
        (b"\xff", False),
        (b"a" * 10_000, False),
    ],
)
def test_hosts_of_the_setting_are_known(host: bytes, is_known: bool) -> None:
    browsers = Browsers(["cats.example.org"], ())
    if is_known:
        browsers.check_host({b"host": host})
    else:
        with pytest.raises(Exception, match="EVERGREEN_HOSTS"):
            browsers.check_host({b"host": host})
    Browsers(["*"], ()).check_host({b"host": host[:200]})


def test_origin_of_the_setting_may_call(client: TestClient) -> None:
    serving = client.app.state.serving
    allowed = {"cors_origins": ("https://app.example.org",)}
    app = create_app(serving.settings.model_copy(update=allowed))
    app.state.serving = serving
    other = local_client(app)
    origin = {"Origin": "https://app.example.org", "Sec-Fetch-Site": "cross-site"}
    asked = other.options(
        "/v1/champion",
        headers=origin
        | {
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization, if-match",
        },
    )
    assert asked.status_code == 200
    response = other.post("/v1/retrain", headers=origin)
    assert response.status_code == 409
    assert response.headers["access-control-allow-origin"] == "https://app.example.org"
    assert "access-control-allow-credentials" not in response.headers
    evil = other.get("/v1/status", headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in evil.headers
