"""The names of backbones: those with bundled weights, `torchvision/<model>` and `timm/<model>`;
of encoders of texts also `hf/<repository>`, and the path of a folder.

Owns which names exist, and what to suggest for one that does not. Loads neither torch nor weights,
so the command line checks a name quickly. `training/backbones/backbone.py` builds the backbone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from core.errors import InvalidRequest
from core.inputs.kind import InputKind
from core.inputs.pixels.kind import PIXELS
from core.inputs.tokens.kind import TOKENS
from core.models.pretrained import choice as pretrained
from core.models.pretrained import lite0, starter

LITE0 = lite0.NAME
STARTER = starter.NAME
TORCHVISION = "torchvision"
TIMM = "timm"
#: A repository of Hugging Face, and a folder on this machine, by its last name.
HF = "hf"
FOLDER = "folder"

#: By family, the classifiers of torchvision 0.28 that this release cuts into blocks.
#: vit_h_14 and regnet_y_128gf are too large for one ONNX file (2 GB).
FAMILIES: dict[str, tuple[str, ...]] = {
    "convnext": ("convnext_tiny", "convnext_small", "convnext_base", "convnext_large"),
    "efficientnet": (
        *(f"efficientnet_b{number}" for number in range(8)),
        *(f"efficientnet_v2_{size}" for size in "sml"),
    ),
    "googlenet": ("googlenet",),
    "inception": ("inception_v3",),
    "mobilenet": ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    "regnet": (
        *(f"regnet_x_{size}" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf")),
        *(f"regnet_y_{size}" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf")),
        *("regnet_x_32gf", "regnet_y_32gf"),
    ),
    "resnet": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    "resnext": ("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"),
    "shufflenet": tuple(f"shufflenet_v2_x{width}" for width in ("0_5", "1_0", "1_5", "2_0")),
    "squeezenet": ("squeezenet1_0", "squeezenet1_1"),
    "swin": tuple(f"swin_{kind}{size}" for kind in ("", "v2_") for size in "tsb"),
    "vgg": tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")),
    "vit": ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32"),
    "wide_resnet": ("wide_resnet50_2", "wide_resnet101_2"),
}

#: The libraries of encoders of texts.
OF_TEXTS = (HF, FOLDER, *pretrained.TEXT_NAMES)
#: What else a home can use, by the key of its kind.
OTHER_NAMES = {
    PIXELS.spec_key: "timm/NAME is any model of timm that embeds images.",
    TOKENS.spec_key: (
        "hf/NAME is a repository of Hugging Face. A folder has config.json, tokenizer.json and\n"
        "model.safetensors. Either is of the family bert, distilbert, roberta or mpnet."
    ),
}
_BUNDLED = (*pretrained.NAMES, *pretrained.TEXT_NAMES)
_MODEL = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")
_REPOSITORY = re.compile(r"(?=.{1,96}$)\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_UNNAMED = re.compile(r"[^\w.-]+", re.ASCII)


class Name(NamedTuple):
    """`library` is the whole of a bundled name, torchvision, timm, hf or folder. `family` is of
    torchvision."""

    library: str
    model: str = ""
    family: str = ""


def parse(name: str) -> Name:
    """Split a backbone's name. Raises InvalidRequest if no backbone has this name.

    Only building the backbone tells whether timm has the model.
    """
    library, _, model = name.partition("/")
    if name in _BUNDLED:
        return Name(name)
    if library == TORCHVISION and model in _FAMILY_OF:
        return Name(TORCHVISION, model, _FAMILY_OF[model])
    if library == TIMM and _MODEL.fullmatch(model):
        return Name(TIMM, model)
    if library in (HF, FOLDER) and _REPOSITORY.fullmatch(model):
        return Name(library, model)
    raise InvalidRequest(f"there is no backbone {name!r}; {_remedy(name)}")


def require_kind(name: str, kind: InputKind) -> None:
    """Raises InvalidRequest if no backbone has this name, or one for other inputs."""
    own: InputKind = TOKENS if is_folder(name) or parse(name).library in OF_TEXTS else PIXELS
    if own.spec_key != kind.spec_key:
        raise InvalidRequest(
            f"the backbone {name} takes {own.plural}, and this home holds {kind.plural}: name one "
            f"that takes {kind.plural} (see `evergreen backbone list`), or use it in a home made "
            f"with `evergreen init --input {own.name}`"
        )


def of_folder(folder: str) -> str:
    """Return the name of the encoder in a folder, such as `folder/all-MiniLM-L6-v2`."""
    last = _UNNAMED.sub("-", Path(folder).expanduser().resolve().name).strip(".-")[:96]
    return f"{FOLDER}/{last or 'encoder'}"


def is_folder(name: str) -> bool:
    """Whether it is a path and no name: one that begins with `.`, `/` or `~`, or ends with `/`,
    or any folder that has a config.json."""
    return (
        name.startswith((".", "/", "~"))
        or name.endswith("/")
        or (Path(name) / "config.json").is_file()
    )


def all_names(kind: InputKind) -> list[str]:
    """Return what a home of this kind can use, those with bundled weights first.

    Left out are the names that nobody can list: see `OTHER_NAMES`.
    """
    more = () if kind.spec_key == TOKENS.spec_key else sorted(_FAMILY_OF)
    return [*pretrained.names(kind), *(f"{TORCHVISION}/{model}" for model in more)]


def suggest(model: str, library: str, models: Iterable[str]) -> str:
    """Suggest models of a library with a similar name. Returns "" if there are none."""
    similar = get_close_matches(model, list(models), n=3, cutoff=0.6)
    names = " or ".join(f"{library}/{model}" for model in similar)
    return f"did you mean {names}?" if names else ""


def _remedy(name: str) -> str:
    if similar := get_close_matches(name, _BUNDLED, n=1):
        return f"did you mean {similar[0]}?"
    return suggest(name.rpartition("/")[2], TORCHVISION, _FAMILY_OF) or (
        f"name {LITE0}, {STARTER}, {TORCHVISION}/MODEL of the families {', '.join(FAMILIES)}, "
        f"or {TIMM}/MODEL; for texts {HF}/NAME or the path of a folder"
    )


_FAMILY_OF = {model: family for family, models in FAMILIES.items() for model in models}
