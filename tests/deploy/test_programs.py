"""Prometheus and systemd accept the files of deploy/."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from core.access import keys
from tests.deploy.files import DEPLOY, rules
from tests.support.external_programs import require
from tests.support.server import free_port, running
from tests.support.wait import wait_until

# Where compose puts it.
KEY_FILE = "/run/secrets/admin_key"


@pytest.mark.tool
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_prometheus_accepts_the_files_and_its_alerts_fire(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    promtool = require("promtool")
    shutil.copytree(DEPLOY, tmp_path, dirs_exist_ok=True)
    config = (tmp_path / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(config.replace(KEY_FILE, str(new_key(tmp_path))))
    result = subprocess.run(
        [promtool, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr


def new_key(folder: Path) -> Path:
    path = folder / "admin.key"
    path.write_text(keys.new_key())
    return path


@pytest.mark.tool
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = require("systemd-analyze")
    text = (DEPLOY / "evergreen.service").read_text()
    unit = tmp_path / "evergreen.service"
    unit.write_text(
        text.replace("/opt/evergreen/venv/bin/python", os.path.realpath(sys.executable))
    )
    result = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=60)
    complaints = [line for line in result.stderr.splitlines() if "evergreen" in line]
    assert (result.returncode, complaints) == (0, [])


@pytest.mark.tool
@pytest.mark.end_to_end
def test_prometheus_scrapes_a_server_and_evaluates_the_rules(tmp_path: Path) -> None:
    program = require("prometheus")
    key_file = str(new_key(tmp_path))
    with running(tmp_path / "home", workers=1, EVERGREEN_ADMIN_KEY_FILE=key_file) as server:
        target = f"127.0.0.1:{server.port}"
        with prometheus(program, tmp_path, target) as api:
            wait_until(lambda: value(api, "evergreen_live_version") == 1, 20, "a scrape")
            (found,) = api.get("targets").json()["data"]["activeTargets"]
            assert (found["health"], found["lastError"]) == ("up", "")
            assert value(api, 'evergreen_requests_total{route="/v1/status",status="200"}') >= 1

            def evaluated() -> bool:
                healths = [rule["health"] for rule in all_rules(api)]
                return healths == ["ok"] * len(rules())

            wait_until(evaluated, 15, "every rule to be evaluated")
            assert [rule["name"] for rule in all_rules(api) if rule["state"] == "firing"] == []
            server.stop()
            wait_until(lambda: is_pending(api, "EvergreenDown"), 15, "EvergreenDown")


def is_pending(api: httpx.Client, alert: str) -> bool:
    return any(r["state"] == "pending" for r in all_rules(api) if r["name"] == alert)


def all_rules(api: httpx.Client) -> list[dict[str, Any]]:
    groups = api.get("rules").json()["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def value(api: httpx.Client, query: str) -> float:
    """The value of a series, 0 if it does not exist yet."""
    found = api.get("query", params={"query": query}).json()["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


@contextlib.contextmanager
def prometheus(program: Path, folder: Path, target: str) -> Iterator[httpx.Client]:
    """Prometheus with our files, this target, and an interval of one second instead of fifteen."""
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["rule_files"] = [str(DEPLOY / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    config["scrape_configs"][0]["authorization"]["credentials_file"] = str(folder / "admin.key")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [program, f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address={address}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        with httpx.Client(base_url=f"http://{address}/api/v1/", timeout=5) as api:
            wait_until(lambda: responds(api), 15, "Prometheus to respond")
            yield api
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def responds(api: httpx.Client) -> bool:
    time.sleep(0.1)
    with contextlib.suppress(httpx.HTTPError):
        return api.get("query", params={"query": "1"}).is_success
    return False
