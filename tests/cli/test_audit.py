"""`evergreen audit`, and that each command that changes something is in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command

from cli.actor import actor
from cli.commands import COMMANDS
from core import predictions
from core.ids import new_id
from core.labelling import lost_images
from core.predictions import Prediction
from core.registry import versions
from core.settings import load_settings
from core.store.blobs import sha256
from core.store.store import Store, open_store
from tests.cli.conftest import Run
from tests.cli.photo_folder import write_photos
from tests.core.store.conftest import migrations
from tests.support import images

pytestmark = pytest.mark.slow  # not in `make check`

# They change nothing themselves. What the service does is in it by its name.
READING = {"serve", "worker", "status", "predict", "versions", "audit", "replay", "learning-curve"}
# Tested with torch, in `test_distil.py`.
ELSEWHERE = {"distil": "images.read"}
CHANGING = {
    "init": "version.published",
    "backup": "backup.made",
    "migrate": "schema.migrated",
    "restore": "backup.restored",
    "doctor": "home.repaired",
    "gc": "gc.swept",
    "key": "key.revoked",
    "label": "label.given",
    "classes": "class.renamed",
    "import": "labels.imported",
    "lost-images": "example.erased",
    "queue": "queue.read",
    "erase": "example.erased",
    "retrain": "run.requested",
    "backbone": "backbone.chosen",
    "promote": "promotion.requested",
    "rollback": "promotion.requested",
    "export": "model.exported",
    "export-labels": "labels.exported",
}


@pytest.fixture
def opened(home: Path) -> Iterator[Store]:
    """A store with a second version, like the first."""
    store = open_store(load_settings())
    with store.db.write() as conn:
        manifest = versions.read_manifest(versions.get(conn, 1), store)
        versions.publish(conn, store, manifest, {"promote": True, "reason": "a test"})
    yield store
    store.db.close()


def audit(run: Run, *options: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("audit", "--json", *options).stdout)
    return found


def test_every_command_is_in_one_of_the_tables() -> None:
    assert {command.name for command in COMMANDS} == READING | CHANGING.keys() | ELSEWHERE.keys()


def photo(folder: Path) -> Path:
    path = folder / "photo.png"
    path.write_bytes(images.png(40, 40, seed=1))
    return path


def with_store(do: Callable[[Store], None]) -> None:
    store = open_store(load_settings())
    try:
        do(store)
    finally:
        store.db.close()


def lose(store: Store) -> None:
    digest = sha256(images.png(40, 40, seed=1))
    store.blobs.delete(digest)
    lost_images.mark_lost(store, {digest: "missing"}, now=1.0)


def predict_long_ago(store: Store) -> None:
    row = Prediction(new_id(), store.blobs.put(b"old"), 1, "cat", 0.9, 0.8, 1.0, None, 3, "all")
    predictions.add(store.db, [row])


def downgrade(store: Store) -> None:
    config = migrations()
    with store.db.write() as conn:
        config.attributes["connection"] = conn
        command.downgrade(config, "-1")


def do(name: str, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    match name:
        case "backup":
            return run("backup", folder / "backups")
        case "restore":
            run("backup", folder / "backups")
            monkeypatch.setenv("EVERGREEN_HOME", str(folder / "restored"))
            return run("restore", folder / "backups")
        case "migrate":
            with_store(downgrade)
            return run("migrate")
        case "doctor":
            (load_settings().home / "evergreen.db").chmod(0o644)
            return run("doctor", "--repair", "--quick")
        case "gc":
            with_store(predict_long_ago)
            return run("gc")
        case "key":
            run("key", "add", "camera")
            return run("key", "revoke", "camera")
        case "label":
            return run("label", photo(folder), "cat")
        case "classes":
            run("label", photo(folder), "cat")
            return run("classes", "rename", "cat", "kitten")
        case "lost-images":
            run("label", photo(folder), "cat")
            with_store(lose)
            return run("lost-images", "--erase", 1)
        case "erase":
            run("label", photo(folder), "cat")
            return run("erase", "example", 1)
        case "import":
            return run("import", write_photos(folder / "album"))
        case "retrain" | "backbone":
            run("import", write_photos(folder / "album"))
            return run("retrain") if name == "retrain" else run("backbone", "use", "starter")
        case "export-labels":
            return run("export-labels", folder / "labels.zip")
        case "export":
            return run("export", 1, folder / "model.onnx")
        case _:
            return run(name)


@pytest.mark.parametrize("name", sorted(CHANGING.keys() - {"promote", "rollback"}))
def test_command_is_an_event_of_its_user(
    home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert do(name, run, tmp_path, monkeypatch).exit_code == 0
    (event,) = audit(run, "--action", CHANGING[name])
    expected = "evergreen" if name == "init" else actor().who
    assert (event["who"], event["key_id"], event["request_id"]) == (expected, None, None)


def test_import_is_an_event_for_each_transaction(home: Path, run: Run, tmp_path: Path) -> None:
    run("import", write_photos(tmp_path / "album", per_class=20))
    counts = [event["detail"]["count"] for event in audit(run, "--action", "labels.imported")]
    assert counts == [8, 32]
    assert audit(run, "--action", "label.given") == []


def test_promotion_and_rollback_name_the_user_and_then_the_change(opened: Store, run: Run) -> None:
    assert run("promote", 2).exit_code == 0
    assert run("rollback").exit_code == 0
    found = [(event["action"], event["subject"]) for event in audit(run, "--limit", 4)]
    assert found == [
        ("version.rolled_back", "version 1"),
        ("promotion.requested", "version 1"),
        ("version.promoted", "version 2"),
        ("promotion.requested", "version 2"),
    ]
    requested = audit(run, "--action", "promotion.requested", "--who", actor().who)
    assert len(requested) == 2


def test_list_is_limited_and_says_how_to_go_on(home: Path, run: Run) -> None:
    for name in "ab":
        run("key", "add", name)
    result = run("audit", "--limit", 1)
    assert "key.made" in result.stdout
    (newest,) = audit(run, "--limit", 1)
    assert f"--before {newest['id']}" in result.stderr
    assert len(audit(run, "--before", newest["id"], "--action", "key.made")) == 1
    assert len(audit(run, "--since", "1h", "--action", "key.made")) == 2
    assert run("audit", "--since", "soon").exit_code == 2
    assert "Nothing" in run("audit", "--who", "nobody").stdout
