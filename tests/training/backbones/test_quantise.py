"""A backbone in int8: what is quantised, with which photos, and what the gate requires."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from core.errors import InvalidRequest, NotEnoughLabels
from core.inputs.kind import Limits
from core.labelling import labels
from core.models.backbones import Backbone, Runtime
from core.store.store import Store
from tests.support import tiny
from tests.training.digits_store import digits_of, label
from training.backbones.quantise import (
    MAX_PHOTOS,
    MIN_PHOTOS,
    as_int8,
    evenly,
    labelled_photos,
    quantise,
)
from training.gate.evidence import Evidence
from training.gate.rules import decide
from training.pipeline.progress import RunCancelled
from training.recipe import GatePolicy

torch = pytest.importorskip("torch", reason="the training extra is not installed")

from tests.training.backbones.tiny_backbone import deep_backbone, photos, tiny_backbone  # noqa: E402
from training.backbones.backbone_ref import BackboneRef  # noqa: E402
from training.backbones.export import export_backbone  # noqa: E402

pytestmark = pytest.mark.training

# Of embeddings of photos, in four layers of 256 levels; 0.9995 seen.
LEAST_COSINE = 0.99


@pytest.fixture(scope="module")
def in_float32() -> bytes:
    return export_backbone(tiny_backbone())


@pytest.fixture(scope="module")
def in_int8(in_float32: bytes) -> bytes:
    return quantise(in_float32, photos(30)[0]).content


def embed(content: bytes, pixels_NHWC: np.ndarray) -> np.ndarray:
    return Backbone(content, "tiny", Runtime("cpu")).embed(pixels_NHWC)


def test_int8_backbone_embeds_as_the_float32_one_in_the_same_interface(
    in_float32: bytes, in_int8: bytes
) -> None:
    onnx.checker.check_model(in_int8)  # an export verifies it too
    for_both = [onnx.load_from_string(content).graph for content in (in_float32, in_int8)]
    assert for_both[0].input == for_both[1].input
    assert for_both[0].output == for_both[1].output
    unseen_NHWC = photos(20, seed=1)[0]
    before_ND, after_ND = embed(in_float32, unseen_NHWC), embed(in_int8, unseen_NHWC)
    norms = np.linalg.norm(before_ND, axis=1) * np.linalg.norm(after_ND, axis=1)
    assert ((before_ND * after_ND).sum(axis=1) / norms).min() > LEAST_COSINE
    assert not np.array_equal(before_ND, after_ND)


def test_convolutions_after_the_third_have_weights_of_8_bits(in_int8: bytes) -> None:
    graph = onnx.load_from_string(in_int8).graph
    maker = {name: node for node in graph.node for name in node.output}
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    types_of_convolutions = []
    for node in graph.node:
        if node.op_type == "Conv":
            weights = node.input[1]
            types_of_convolutions.append(types.get(weights) or types[maker[weights].input[0]])
    assert types_of_convolutions == [*[TensorProto.FLOAT] * 3, TensorProto.INT8]


def test_same_photos_give_the_same_file(in_float32: bytes, in_int8: bytes) -> None:
    assert quantise(in_float32, photos(30)[0]).content == in_int8


def num_in_float32(model: bytes) -> tuple[int, dict[int, float]]:
    found = quantise(model, photos(40)[0])
    assert found.num_linear == 12
    assert f"{found.num_float32} of 12 layers stay in float32" in found.reason()
    return found.num_float32, found.noise


def test_three_nodes_in_float32_are_enough_for_an_even_network() -> None:
    number, noise = num_in_float32(export_backbone(deep_backbone()))
    assert number == 3
    assert list(noise) == [3, 6]


def test_more_nodes_stay_in_float32_where_rounding_them_costs_more() -> None:
    number, noise = num_in_float32(export_backbone(deep_backbone(uneven=4)))
    assert number == 6
    assert noise[3] > 2 * noise[6]


def test_more_nodes_in_float32_that_do_not_help_are_rounded() -> None:
    """The costly node is after those that may stay in float32."""
    number, noise = num_in_float32(export_backbone(deep_backbone(uneven=9)))
    assert number == 3
    assert noise[6] > 0.1


def test_model_with_nothing_to_quantise_is_refused_with_a_remedy() -> None:
    with pytest.raises(InvalidRequest, match="use it in float32"):
        quantise(tiny.backbone_onnx(), np.zeros((20, 8, 8, 3), np.uint8))


def test_stopped_run_ends_between_two_photos(in_float32: bytes) -> None:
    reported = []

    def stop(done: int) -> None:
        reported.append(done)
        if done == 3:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        quantise(in_float32, photos(30)[0], stop)
    assert reported == [1, 2, 3]


def test_stopped_run_ends_while_the_results_are_compared(in_float32: bytes) -> None:
    def stop(done: int) -> None:
        if done == 25:  # after 23 photos that give ranges
            raise RunCancelled

    with pytest.raises(RunCancelled):
        quantise(in_float32, photos(30)[0], stop)


def test_photos_are_spread_evenly() -> None:
    assert evenly(0) == []
    assert evenly(3) == [0, 1, 2]
    many = evenly(12_345)
    assert (len(many), many[0], many[-1]) == (MAX_PHOTOS, 0, 12_344)
    assert set(np.diff(many)) == {124, 125}


def test_held_out_photos_are_not_used(sqlite_store: Store) -> None:
    label(sqlite_store, digits_of("three", "eight")[:60])
    with sqlite_store.db.read() as conn:
        rows = labels.current(conn)
    num_training = sum(not row.is_held_out for row in rows)
    assert MIN_PHOTOS < num_training < len(rows)
    assert len(labelled_photos(sqlite_store, tiny.SPEC, Limits())) == num_training


def test_too_few_labelled_photos_are_refused_with_both_numbers(sqlite_store: Store) -> None:
    label(sqlite_store, digits_of("three")[:4])
    with pytest.raises(NotEnoughLabels, match=r"needs 20 labelled photos.* 4 can train"):
        labelled_photos(sqlite_store, tiny.SPEC, Limits())


def test_backbone_ref_keeps_what_it_was_quantised_from(
    sqlite_store: Store, in_float32: bytes, in_int8: bytes
) -> None:
    blobs = sqlite_store.blobs
    float32 = blobs.put(in_float32)
    before = BackboneRef(
        "tiny", float32, tiny_backbone().pixels, 24, snapshot=7, tuned_from="b" * 64
    )
    after, result = as_int8(before, photos(30)[0], blobs)
    assert result.content == in_int8
    assert after.quantised_from == before.digest
    assert blobs.get(after.digest) == in_int8
    assert (after.name, after.input_spec, after.snapshot) == ("tiny", before.input_spec, 7)
    assert after.tuned_from == before.tuned_from
    assert BackboneRef.from_json(after.to_json()) == after
    asked_by_an_older_release = before.to_json()
    del asked_by_an_older_release["quantised_from"], asked_by_an_older_release["tuned_from"]
    assert BackboneRef.from_json(asked_by_an_older_release) == replace(before, tuned_from=None)


def decision(ratio: float | None) -> tuple[bool, str, list[str]]:
    right_N = np.ones(1000, np.bool_)
    evidence = Evidence(
        method="hold-out",
        classes=("cat", "dog"),
        label_N=np.arange(1000) % 2,
        champion_correct_N=right_N,
        challenger_correct_N=right_N,
        old_classes=frozenset({"cat", "dog"}),
        champion_version=1,
        parity=0.0,
        latency_ratio=1.0,
        size_bytes=1,
        int8_latency_ratio=ratio,
    )
    found = decide(evidence, GatePolicy())
    return found.promote, found.reason, [check.name for check in found.checks]


def test_gate_holds_back_int8_without_a_gain_in_speed() -> None:
    assert decision(0.6)[0]
    promote, reason, _ = decision(0.95)
    assert not promote
    assert "int8 takes 0.95 times as long as float32 here, limit 0.90" in reason
    assert not decision(float("nan"))[0]
    assert "int8" not in decision(None)[2]
