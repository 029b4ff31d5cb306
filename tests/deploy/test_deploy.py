"""The files in deploy/ and the pages about them agree with the code and with each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from prometheus_client.parser import text_string_to_metric_families

from cli.serve import KEEP_ALIVE_S
from core.settings import PREFIX, Settings
from core.store.store import Store
from service import metrics
from tests.deploy.files import DEPLOY, DEPLOYING, FILES, MONITORING, PROJECT, ROOT, rules

# The Bento's requirements


def bentofile() -> Any:
    return yaml.safe_load((ROOT / "bentofile.yaml").read_text())


def test_bento_requires_the_dependencies_of_the_project() -> None:
    found = [Requirement(line) for line in bentofile()["python"]["packages"]]
    assert found == [Requirement(line) for line in PROJECT["dependencies"]]


def test_extras_in_the_comments_of_the_bento_are_those_of_the_project() -> None:
    text = (ROOT / "bentofile.yaml").read_text().partition("# Extras;")[2]
    found = {
        name: [Requirement(line) for line in re.findall(r"# - (.+)", lines)]
        for name, lines in re.findall(r"# (\w+)(?::.*)?\n((?:\s+# - .+\n)+)", text)
    }
    assert set(found) == {"postgres", "s3", "text", "training"}
    extras = PROJECT["optional-dependencies"]
    for name, requirements in found.items():
        assert requirements == [Requirement(line) for line in extras[name]]


# Names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_named_setting_exists(path: Path) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    # Read by the compose file alone.
    known |= {"EVERGREEN_CPUS", "EVERGREEN_MEMORY"}
    assert set(re.findall(r"EVERGREEN_[A-Z]+(?:_[A-Z]+)*", path.read_text())) <= known


def exported(store: Store) -> dict[str, str]:
    """Names and types of all scraped metrics."""
    families = text_string_to_metric_families(metrics.render(store, (0, 0)).decode())
    return {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in families
        if family.name.startswith("evergreen_") and not family.name.endswith("_created")
    }


def test_every_metric_of_a_rule_exists(sqlite_store: Store) -> None:
    known = set()
    for name, kind in exported(sqlite_store).items():
        ends = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        known |= {name + end for end in ends}
    used = {name for rule in rules() for name in re.findall(r"evergreen_\w+", rule["expr"])}
    assert used
    assert used <= known


def test_every_outcome_of_a_rule_exists(sqlite_store: Store) -> None:
    text = metrics.render(sqlite_store, (0, 0)).decode()
    used = re.findall(r'outcome="([\w-]+)"', " ".join(rule["expr"] for rule in rules()))
    assert used
    for outcome in used:
        assert f'outcome="{outcome}"' in text


def test_every_alert_is_explained_and_tested() -> None:
    alerts = [rule["alert"] for rule in rules()]
    assert re.findall(r"^### (\w+)$", MONITORING, re.M) == alerts
    tests = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if "exp_alerts" in case} == set(alerts)
    assert {case["alertname"] for case in cases if "exp_alerts" not in case} == set(alerts)


# Compose


def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in compose()["services"].values() for port in service["ports"]]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "--host 127.0.0.1 " in (DEPLOY / "evergreen.service").read_text()


def test_files_and_variables_of_compose_exist() -> None:
    content = compose()
    for service in content["services"].values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            known = source in content["volumes"] or (DEPLOY / source).is_file()
            assert known, mount
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    targets = [t for job in scraped for config in job["static_configs"] for t in config["targets"]]
    assert targets == ["evergreen:3000"]
    assert "evergreen" in content["services"]


def test_each_deployment_leaves_container_mode_and_stops_in_time() -> None:
    service = compose()["services"]["evergreen"]
    wait = service["command"].index("--timeout-graceful-shutdown")
    assert int(service["command"][wait + 1]) < int(service["stop_grace_period"].rstrip("s"))
    assert service["command"][:3] == ["env", "-u", "BENTOML_CONTAINERIZED"]
    assert " ".join(service["command"]) in DEPLOYING.replace("\\\n  ", "")
    unit = (DEPLOY / "evergreen.service").read_text()
    assert "UnsetEnvironment=BENTOML_CONTAINERIZED" in unit
    assert "--timeout-graceful-shutdown 20\n" in unit
    assert "TimeoutStopSec=30\n" in unit


def test_each_deployment_keeps_idle_connections_longer_than_a_proxy() -> None:
    kept = f"--timeout-keep-alive {KEEP_ALIVE_S} "
    assert KEEP_ALIVE_S > 60
    assert kept in " ".join(compose()["services"]["evergreen"]["command"])
    assert kept in (DEPLOY / "evergreen.service").read_text()
    commands = DEPLOYING.replace("\\\n", "").replace("\n", " ").split("bentoml serve")[1:]
    assert len(commands) == 2
    assert all(kept in " ".join(command.split()[:9]) + " " for command in commands)
