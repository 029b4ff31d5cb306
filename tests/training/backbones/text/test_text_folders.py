"""Folders of encoders: what is refused, and with which words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")
pytest.importorskip("transformers", reason="the text-training extra is not installed")

import huggingface_hub  # noqa: E402
import onnx  # noqa: E402
import safetensors.torch  # noqa: E402

from core.errors import BackboneUnavailable, InvalidRequest, SpecMismatch  # noqa: E402
from core.inputs.kind import InputKind  # noqa: E402
from core.inputs.pixels.kind import PIXELS  # noqa: E402
from core.inputs.tokens.kind import TOKENS  # noqa: E402
from tests.training.backbones.text.tiny_encoder import (  # noqa: E402
    as_sentence_transformers,
    tiny_encoder,
    write_folder,
)
from tests.training.backbones.tiny_backbone import tiny_backbone  # noqa: E402
from training.backbones import names, networks  # noqa: E402

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_folder(folder, "bert")
    as_sentence_transformers(folder)
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    for file in published.rglob("*"):
        if file.is_file():
            copy = tmp_path / file.relative_to(published)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(file.read_bytes())
    return tmp_path


def change(file: str, **fields: object) -> Callable[[Path], None]:
    def in_folder(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return in_folder


def write(file: str, content: str) -> Callable[[Path], None]:
    def in_folder(folder: Path) -> None:
        (folder / file).write_text(content)

    return in_folder


def rename(file: str, to: str) -> Callable[[Path], None]:
    def in_folder(folder: Path) -> None:
        (folder / file).rename(folder / to)

    return in_folder


def convert(**options: object) -> Callable[[Path], None]:
    def in_folder(folder: Path) -> None:
        file = folder / "model.safetensors"
        tensors = safetensors.torch.load_file(file)
        safetensors.torch.save_file({k: v.to(**options) for k, v in tensors.items()}, file)

    return in_folder


_DENSE = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Dense")]
_NO_SPECIAL = {"post_processor": None}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (rename("config.json", "config"), r"has no config\.json: give a folder with"),
        (write("config.json", "{"), r"config\.json cannot be read: .*as the encoder's author"),
        (change("config.json", model_type="t5"), r"'t5', and supported are bert \(MiniLM too\), "),
        (change("config.json", auto_map={"A": "b.C"}), r"code of their own, which is never run"),
        (change("config.json", position_embedding_type="alibi"), r"with absolute positions"),
        (change("config.json", hidden_size=2**30 - 4), r"of shape .* instead of "),
        (change("config.json", intermediate_size=10**10), r"from 1 to 1,073,741,823"),
        (change("config.json", num_hidden_layers=10**9), r"weights of 2 layers, .* = 1000000000"),
        (change("config.json", num_attention_heads=5), r"hidden_size = 32, .*multiple of"),
        (change("config.json", hidden_act="../x"), r"hidden_act = '../x', and it must be one of"),
        (rename("model.safetensors", "pytorch_model.bin"), r"only pytorch_model\.bin.*save_pretr"),
        (convert(dtype=torch.int8), r"torch\.int8, and weights must be floating point"),
        (rename("tokenizer.json", "vocab.txt"), r"no tokenizer\.json, only vocab\.txt: make it wi"),
        (change("tokenizer.json", **_NO_SPECIAL), r"no special tokens around a text"),
        (change("tokenizer.json", normalizer=None), r"do_lower_case, and .* keeps capitals"),
        (
            change("config.json", vocab_size=30),
            r"token of number 43, and the encoder's table has 3",
        ),
        (write("modules.json", json.dumps(_DENSE)), r"lists the modules Transformer, Dense, and"),
        (
            change("1_Pooling/config.json", pooling_mode_cls_token=True),
            r"_cls_token and pooling_mo",
        ),
        (change("1_Pooling/config.json", pooling_mode="max"), r"pools by max, and supported are"),
    ],
)
def test_folder_that_does_not_fit_is_refused_with_words(
    folder: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(folder)
    with pytest.raises(InvalidRequest, match=words) as raised:
        networks.build(str(folder))
    assert str(folder) in str(raised.value) or "sentence_bert_config" in str(raised.value)


@pytest.mark.parametrize("is_old", [False, True])
def test_weights_in_half_precision_in_parts_and_by_old_names_are_read(
    folder: Path, is_old: bool
) -> None:
    whole = networks.build(f"{folder}/").weights()
    file = folder / "model.safetensors"
    tensors = {f"bert.{k}": v.half() for k, v in safetensors.torch.load_file(file).items()}
    tensors["cls.predictions.bias"] = torch.zeros(3)
    if is_old:
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for new, name in old.items():
            tensors = {key.replace(new, name): value for key, value in tensors.items()}
    file.unlink()
    keys = sorted(tensors)
    parts = {key: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, key in enumerate(keys)}
    for part in set(parts.values()):
        chosen = {key: tensors[key] for key in keys if parts[key] == part}
        safetensors.torch.save_file(chosen, folder / part)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    again = networks.build(str(folder)).weights()
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[key], whole[key].half().float()) for key in whole)


def test_name_of_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    for name in (f"{tmp_path}/none", "folder/all-MiniLM-L6-v2"):
        with pytest.raises(InvalidRequest, match=r"there is no folder .*: give the path of one"):
            networks.build(name)


def test_files_outside_of_the_folder_are_not_read(folder: Path) -> None:
    index = {"weight_map": {"a": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    with pytest.raises(InvalidRequest, match=r"names the path '\.\./model\.safetensors'"):
        networks.build(str(folder))


def test_names_of_encoders_are_those_of_folders_and_repositories() -> None:
    assert names.parse("hf/sentence-transformers/all-MiniLM-L6-v2") == (
        *("hf", "sentence-transformers/all-MiniLM-L6-v2", ""),
    )
    assert names.of_folder("/models/all MiniLM/") == "folder/all-MiniLM"
    assert names.of_folder("/") == "folder/encoder"
    assert names.parse(names.of_folder("/")).library == "folder"
    assert all(map(names.is_folder, ("./x", "/x", "~/x", "x/", "..")))
    assert not names.is_folder("hf/x/y")
    for name in ("hf/", "hf/../x", "hf/a/b/c", "hf/x y", "hf/" + "x" * 97):
        with pytest.raises(InvalidRequest, match=r"hf/NAME or the path of a folder"):
            names.parse(name)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("hf/a/b", PIXELS, "takes texts, and this home holds images: .* init --input text"),
        ("./folder", PIXELS, "takes texts, and this home holds images"),
        ("all-minilm-l6-v2", PIXELS, "takes texts, and this home holds images"),
        ("starter", TOKENS, "takes images, and this home holds texts: .* init --input image"),
        ("timm/vit", TOKENS, "takes images, and this home holds texts"),
    ],
)
def test_backbone_for_other_inputs_than_those_of_the_home_is_refused(
    name: str, kind: InputKind, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        names.require_kind(name, kind)
    names.require_kind(name, TOKENS if kind is PIXELS else PIXELS)


def test_repository_is_downloaded_without_code_or_pickles(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def snapshot_download(repository: str, **options: object) -> str:
        asked[repository] = options["allow_patterns"]
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    module = networks.build("hf/owner/name", cache=folder / "cache")
    assert module.name == "hf/owner/name"
    (patterns,) = asked.values()
    assert [*asked] == ["owner/name"]
    assert all(pattern.endswith((".json", ".safetensors")) for pattern in patterns)


def test_repository_without_a_network_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot_download(*_: object, **__: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(BackboneUnavailable, match=r"no route to host\. Give a folder .* hf downl"):
        networks.build("hf/owner/name", cache=tmp_path)
    with pytest.raises(InvalidRequest, match="leave --weights out"):
        networks.build("hf/owner/name", Path("a.safetensors"), cache=tmp_path)


def test_networks_are_read_back_and_exported_by_what_they_take() -> None:
    text = tiny_encoder()
    exported = networks.export(text)
    again = networks.from_onnx(text.name, exported).weights()
    assert all(torch.equal(again[key], tensor) for key, tensor in text.weights().items())
    model = onnx.load_from_string(exported)
    del model.metadata_props[:]
    with pytest.raises(SpecMismatch, match="does not say which encoder it is"):
        networks.from_onnx(text.name, model.SerializeToString())
    with pytest.raises(InvalidRequest, match="no backbone 'tiny'"):
        networks.from_onnx("tiny", networks.export(tiny_backbone()))
