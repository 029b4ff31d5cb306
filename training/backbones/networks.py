"""Backbones of both kinds of input as torch modules: built by name, read back and exported.

Owns the choice between `training.backbones.backbone` and `training.backbones.text`.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import InvalidRequest
from core.models.pretrained import minilm
from training.backbones import backbone as of_images
from training.backbones.backbone import Backbone
from training.backbones.download import fetch_folder
from training.backbones.export import export_backbone
from training.backbones.names import FOLDER, HF, OF_TEXTS, is_folder, of_folder, parse
from training.backbones.text import load as of_texts
from training.backbones.text.architecture import ENCODER
from training.backbones.text.encoder import TextEncoder
from training.backbones.text.export import export_encoder
from training.backbones.text.starter import starter

Network = Backbone | TextEncoder


def build(
    name: str, weights: Path | None = None, *, cache: Path | None = None, progress: bool = True
) -> Network:
    """Build a backbone by its name, or an encoder from a folder, in inference mode.

    Raises as `training.backbones.backbone.build` does, and InvalidRequest if a folder has no
    encoder that this release supports.
    """
    library = FOLDER if is_folder(name) else parse(name).library
    if library not in OF_TEXTS:
        return of_images.build(name, weights, cache=cache, progress=progress)
    if weights is not None:
        raise InvalidRequest(
            f"--weights {weights} goes with a backbone for images, and {name} has weights of its "
            "own: leave --weights out"
        )
    if library == HF:
        return of_texts.from_folder(name, fetch_folder(parse(name).model, cache))
    if library == FOLDER:
        folder = Path(name).expanduser()
        return of_texts.from_folder(of_folder(name), folder)
    return starter()


def from_onnx(name: str, model: bytes) -> Network:
    """Build a backbone with the weights of an exported one, to train it further.

    Raises SpecMismatch if the model is not of this backbone.
    """
    if of_texts.is_encoder(model):
        if name == minilm.NAME and ENCODER not in of_texts.read_metadata(model):
            return starter()  # as it was before it was tuned
        return of_texts.from_onnx(name, model)
    return of_images.from_onnx(name, model)


def export(module: Network) -> bytes:
    """Export a backbone with its weights. Raises InvalidRequest if it is too large for ONNX."""
    if isinstance(module, TextEncoder):
        return export_encoder(module)
    return export_backbone(module)
