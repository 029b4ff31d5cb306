"""The clock of the machine that responds, compared with the database's."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.mark.parametrize(
    ("by", "problem"),
    [
        (0.0, None),
        (
            2.0,
            "this machine's clock is +2.0 s from the database's, and the limit is 0.2 s; "
            "synchronise it (NTP)",
        ),
    ],
)
def test_offset_of_the_clock_is_in_the_status_and_the_metrics(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, by: float, problem: str | None
) -> None:
    clock = client.app.state.serving.store.db.clock
    monkeypatch.setattr(clock, "_wall", lambda: time.time() + by)
    found = client.get("/v1/status").json()["clock"]
    assert found["offset_seconds"] == pytest.approx(by, abs=0.04)
    assert found["problem"] == problem
    (line,) = (
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("evergreen_clock_offset_seconds ")
    )
    assert float(line.split()[1]) == pytest.approx(by, abs=0.04)
