"""Fine-tuning of texts: their activations, parts of similar length, and whole runs."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")
pytest.importorskip("transformers", reason="the text-training extra is not installed")

from tests.training.backbones.text.tiny_encoder import tiny_encoder  # noqa: E402
from tests.training.blocks.text_task import (  # noqa: E402
    CLASSES,
    RECIPE,
    embed,
    small_text_task,
    texts,
)
from training.blocks.device import Compute  # noqa: E402
from training.blocks.finetune import CANCELLED, FINISHED, Tuned, tune  # noqa: E402
from training.blocks.tail import Tail  # noqa: E402
from training.blocks.texts.activations import TokenActivations  # noqa: E402
from training.blocks.texts.inputs import TokenInputs, TokenWriter  # noqa: E402
from training.blocks.texts.lengths import parts_of_similar_length  # noqa: E402
from training.blocks.texts.tokens import FILL  # noqa: E402
from training.head.head import Head  # noqa: E402

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("one_thread")]

# Half precision keeps 11 bits, and activations here reach about 4.
HALF_ATOL = 4e-3


def tail_of(depth: int) -> Tail:
    head = Head(CLASSES, np.ones((32, 3), np.float32), np.zeros(3, np.float32))
    return Tail(tiny_encoder(), head, np.arange(3), depth).eval()


def activations(tmp_path, tail: Tail, limit_mb: float = 100.0) -> TokenActivations:
    tokens, _ = texts(40)
    return TokenActivations(
        tail,
        Compute("cpu"),
        tokens,
        np.arange(0, 40, 2),
        tmp_path / "cache.f16",
        limit_mb=limit_mb,
        memory_mb=100,
    )


@pytest.fixture(scope="module")
def text_task():
    return small_text_task()


@pytest.fixture(scope="module")
def tuned(text_task, tmp_path_factory) -> Tuned:
    torch.set_num_threads(1)
    return tune(*text_task, RECIPE, tmp_path_factory.mktemp("tuned"), seed=3)


def test_parts_hold_each_text_once_within_the_limit_and_few_fillers() -> None:
    lengths_N = np.random.default_rng(0).integers(2, 257, size=1000)
    parts = parts_of_similar_length(lengths_N, 2048)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    sizes = [len(part) * int(lengths_N[part].max()) for part in parts]
    assert max(sizes) <= 2048
    assert sum(sizes) < 1.1 * lengths_N.sum() + 48 * len(parts)
    assert [len(part) for part in parts_of_similar_length(np.array([300, 200]), 256)] == [1, 1]


def test_written_texts_are_read_back_and_filled_up_at_the_right(tmp_path) -> None:
    writer = TokenWriter(tmp_path, 3)
    for ids in ([101, 7, 102], [101, 102], [101, 7, 8, 9, 102]):
        writer.add(np.array(ids, np.int64))
    tokens = writer.finish().tokens
    assert len(tokens) == 3
    assert tokens.batch(np.array([1, 0])).tolist() == [[101, 102, FILL], [101, 7, 102]]
    assert len(TokenWriter(tmp_path, 0).finish()) == 0


@pytest.mark.parametrize("depth", [1, 2])
def test_cached_activations_of_any_texts_equal_computed_ones(tmp_path, depth) -> None:
    tail = tail_of(depth)
    cached = activations(tmp_path, tail)
    cached.fill(0, lambda: None)
    none = activations(tmp_path / "..", tail, limit_mb=0)
    assert none.num_unfilled == 0
    assert "0 of 1 views of 20 texts" in none.notes[0]
    for at_B in (np.array([3]), np.array([0, 7, 19])):
        got, expected = cached.batch(at_B), none.batch(at_B)
        torch.testing.assert_close(got, expected, rtol=0, atol=HALF_ATOL)
        with torch.no_grad():
            torch.testing.assert_close(tail(got), tail(expected), rtol=0, atol=0.1)


def test_frozen_layers_run_once_for_each_text(tmp_path) -> None:
    tail = tail_of(depth=1)
    cache = activations(tmp_path, tail)
    seen: list[int] = []
    tail.backbone.blocks[1].register_forward_hook(lambda *args: seen.append(len(args[1][0])))
    for epoch in range(3):
        cache.fill(epoch, lambda: None)
        list(cache.batches())
    assert sum(seen) == 20
    assert activations(tmp_path, tail).num_unfilled == 0  # uses the file of a crashed run


def test_tuning_texts_beats_the_head_and_leaves_embeddings_as_they_were(text_task, tuned) -> None:
    assert tuned.improved
    assert tuned.reason == FINISHED
    assert tuned.after.loss < tuned.before.loss - 0.2
    tokens, y_N = texts(300, seed=99)
    start = text_task[1].logits(embed(text_task[0], tokens))
    after = tuned.head.logits(embed(tuned.backbone, tokens))
    assert (after.argmax(1) == y_N).mean() > (start.argmax(1) == y_N).mean() + 0.1
    given, learnt = text_task[0].state_dict(), tuned.backbone.state_dict()
    same = {name for name in given if torch.equal(given[name], learnt[name])}
    assert same == {name for name in given if name.startswith("embeddings.")}


def test_cancelled_run_of_texts_ends_with_the_bits_of_an_uninterrupted_one(
    text_task, tuned, tmp_path
) -> None:
    calls = iter([False] * 25)
    first = tune(*text_task, RECIPE, tmp_path, seed=3, should_stop=lambda: next(calls, True))
    assert first.reason == CANCELLED
    assert 0 < len(first.history) < RECIPE.epochs
    second = tune(*text_task, RECIPE, tmp_path, seed=3)
    mine, theirs = second.backbone.state_dict(), tuned.backbone.state_dict()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    assert [e.train_loss for e in second.history] == [e.train_loss for e in tuned.history]
    assert list(tmp_path.iterdir()) == []


def test_other_words_are_another_run(text_task, tmp_path) -> None:
    encoder, head, inputs, y_N, is_held_out_N = text_task
    stop = {"should_stop": lambda: True}
    tune(*text_task, RECIPE, tmp_path, **stop)
    before = {path.name for path in tmp_path.iterdir()}
    ids_n = inputs.tokens.ids_n.copy()
    ids_n[1] += 1
    other = TokenInputs(dataclasses.replace(inputs.tokens, ids_n=ids_n))
    tune(encoder, head, other, y_N, is_held_out_N, RECIPE, tmp_path, **stop)
    assert before.isdisjoint(path.name for path in tmp_path.iterdir())


def test_all_layers_learn_at_rates_that_fall_with_depth_and_norms_do_not_decay() -> None:
    tail = tail_of(depth=99)
    assert tail.first == 1
    groups = tail.groups(dataclasses.replace(RECIPE, lr=1e-2, lr_decay=0.5, head_lr=3e-3))
    assert [group["lr"] for group in groups[::2]] == [0.5e-2, 1e-2, 3e-3]
    learning = {id(p) for group in groups for p in group["params"]}
    norms = [p for n, p in tail.backbone.named_parameters() if "LayerNorm" in n and "layer." in n]
    assert len(norms) == 2 * 2 * 2
    assert all(id(p) in learning for p in norms)
    assert all(g["weight_decay"] == 0 for g in groups for p in g["params"] if p.ndim == 1)
