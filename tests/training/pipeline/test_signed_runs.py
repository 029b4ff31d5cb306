"""With a key, runs sign what they publish, and take nothing that it did not sign."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from core import leases, runs
from core.audit import Actor
from core.models.backbones import Runtime
from core.models.pretrained import starter
from core.registry import promotions, signing, versions
from core.settings import Settings
from core.store.signer import Signer
from core.store.store import Store
from tests.support import tiny
from tests.training.digits_store import digits_of, label, live, published, retrain
from training.backbones.backbone_ref import BackboneRef
from training.pipeline.context import open_context
from training.pipeline.run import attempt
from training.recipe import Recipe
from training.worker.trainer import Trainer

# Slow: trains heads. Not in `make check`.
pytestmark = pytest.mark.slow
OWN, OTHER = Signer(b"k" * 32), Signer(b"x" * 32)


@pytest.fixture
def signing_store(starter_store: Store) -> Store:
    """Opened with the key. Its champion, the starter, is signed."""
    store = replace(starter_store, signer=OWN)
    signing.sign(live(store), store, Runtime("cpu"), Actor("me"))
    return store


@pytest.fixture
def signing_trainer(signing_store: Store, settings: Settings) -> Trainer:
    label(signing_store, digits_of("two", "five")[:20])
    return Trainer(signing_store, Recipe(), settings)


def test_run_signs_its_version(signing_store: Store, signing_trainer: Trainer) -> None:
    run = retrain(signing_store, signing_trainer)
    assert run.outcome == "promoted", run
    assert versions.read_manifest(live(signing_store), signing_store).version == 2


def test_champion_that_was_forged_fails_runs_and_ends_no_trainer(
    signing_store: Store, signing_trainer: Trainer
) -> None:
    forger = replace(signing_store, signer=OTHER)
    tiny.activate(forger, tiny.publish(forger, tiny.make_manifest(forger.blobs)), time.time())
    for _ in range(3):
        signing_trainer.tick(time.time())
    run = retrain(signing_store, signing_trainer)
    assert (run.state, run.version) == ("failed", None)
    assert "version 2 is not signed with the key" in str(run.error)
    assert [version.number for version in published(signing_store)] == [2, 1]


@pytest.mark.parametrize(
    ("signer", "state"), [(OWN, "finished"), (OTHER, "failed"), (None, "failed")]
)
def test_backbone_is_taken_from_who_has_the_key_only(
    signing_store: Store, settings: Settings, signer: Signer | None, state: str
) -> None:
    """Or the trainer would sign a version with anybody's backbone."""
    label(signing_store, digits_of("two", "five")[:20])
    digest = signing_store.blobs.put(starter.backbone_onnx())
    wanted = BackboneRef("starter", digest, starter.pixel_spec(), 960).to_request(signer)
    now = time.time()
    with signing_store.db.write() as conn:
        run, _ = runs.request(
            conn, trigger="request", now=now, tier="backbone", wanted={"backbone": wanted}
        )
        claimed = leases.claim(conn, "test", now, runs.LONG)
        assert claimed is not None
    attempt(open_context(signing_store, Recipe(), settings, "test"), claimed, lambda: False)
    with signing_store.db.read() as conn:
        ended = runs.get(conn, run.id)
        newest = promotions.newest_activation(conn)
    assert ended.state == state, ended
    assert ("not signed" in str(ended.error)) == (state == "failed")
    assert newest is not None
