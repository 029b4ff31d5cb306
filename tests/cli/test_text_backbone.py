"""`evergreen backbone` in a home of texts: an encoder from a folder, and what is refused."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

pytest.importorskip("torch", reason="the training extra is not installed")
pytest.importorskip("transformers", reason="the text-training extra is not installed")

from core import leases, runs
from core.inputs.kind import Limits
from core.inputs.tokens.kind import TokenSpec
from core.labelling import intake
from core.labelling.intake import LabelRequest
from core.models.pretrained import minilm
from core.registry.versions import read_manifest
from core.settings import load_settings
from core.store.store import Store, open_store
from tests.cli.conftest import Run
from tests.training.backbones.text.tiny_encoder import (
    MAX_TOKENS,
    NUM_TOKENS,
    WORDS,
    as_sentence_transformers,
    write_folder,
)
from tests.training.digits_store import live
from training.backbones.backbone_ref import BackboneRef
from training.pipeline.context import open_context
from training.pipeline.run import attempt
from training.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.training]  # trains heads


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of texts of three classes: each has ten words of its own, and shares ten."""
    home = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(home))
        patch.setenv("EVERGREEN_INPUT", "text")
        from typer.testing import CliRunner

        from cli.__main__ import app

        assert CliRunner().invoke(app, ["init"]).exit_code == 0
        store = open_store(load_settings())
        shared = WORDS[30:]
        for number in range(30):
            for start, name in enumerate(("billing", "bug", "praise")):
                own = WORDS[10 * start : 10 * start + 10]
                words = [
                    own[number % 10],
                    shared[number // 3],
                    own[(3 * number + number // 10) % 10],
                ]
                text = " ".join([*words, shared[number % 7]]).encode()
                intake.label_image(store, text, LabelRequest(name), Limits(), time.time())
        store.db.close()
    return home


@pytest.fixture
def home(no_home: Path, labelled: Path) -> Path:
    shutil.copytree(labelled, no_home)
    return no_home


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = open_store(load_settings())
    yield store
    store.db.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny encoder"
    write_folder(folder, "mpnet", spread=0.05)
    as_sentence_transformers(folder)
    return folder


def finish_requested(store: Store) -> runs.Run:
    with store.db.write() as conn:
        claimed = leases.claim(conn, "test", time.time(), runs.LONG)
        assert claimed is not None
    attempt(open_context(store, Recipe(), load_settings(), "test"), claimed, lambda: False)
    with store.db.read() as conn:
        return runs.get(conn, claimed.id)


def test_encoder_from_a_folder_becomes_the_champion_and_then_in_int8(
    store: Store, folder: Path, run: Run
) -> None:
    result = run("backbone", "use", folder)
    assert result.exit_code == 0, result.output
    ended = finish_requested(store)
    assert (ended.outcome, ended.version) == ("promoted", 2), ended.reason
    manifest = read_manifest(live(store), store)
    assert manifest.backbone_name == "folder/tiny-encoder"
    assert manifest.input_spec == TokenSpec(NUM_TOKENS, MAX_TOKENS)
    assert (manifest.embedding_size, manifest.precision) == (32, "float32")
    assert manifest.metrics["accuracy"] > 0.6
    result = run("backbone", "int8")
    assert result.exit_code == 0, result.output
    with store.db.read() as conn:
        (requested,) = runs.unfinished(conn)
    candidate = BackboneRef.from_json(requested.parameters["wanted"]["backbone"])
    assert candidate.quantised_from == manifest.backbone
    ended = finish_requested(store)  # so small an encoder gains no time
    assert ended.outcome in ("promoted", "held-back"), ended.reason


def test_starter_is_used_in_int8_with_the_float32_form_to_tune(store: Store, run: Run) -> None:
    assert run("backbone", "use", minilm.NAME, "--int8").exit_code == 0
    with store.db.read() as conn:
        (requested,) = runs.unfinished(conn)
    candidate = BackboneRef.from_json(requested.parameters["wanted"]["backbone"])
    first = read_manifest(live(store), store)
    assert (candidate.digest, candidate.quantised_from) == (first.backbone, first.quantised_from)


def test_backbone_for_images_is_refused_in_a_home_of_texts(home: Path, run: Run) -> None:
    result = run("backbone", "use", "efficientnet-lite0")
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "takes images, and this home holds texts" in said
    assert "evergreen init --input image" in said


def test_encoder_that_cannot_be_downloaded_names_the_remedy(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot_download(*_: object, **__: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    result = run("backbone", "use", "hf/owner/name")
    assert result.exit_code == 3
    assert "hf download owner/name --local-dir FOLDER" in " ".join(result.stderr.split())
