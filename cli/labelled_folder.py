"""A folder of labelled images, `FOLDER/<label>/**/<image>`: what is in it, and what is new of it.

Decides; reads nothing but names. `cli/import_folder.py` acts.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.errors import InputError, InvalidLabel, InvalidRequest
from core.labelling import labels

Verdict = Literal["added", "already there", "corrected since", "relabelled"]


@dataclass(frozen=True, slots=True)
class LabelledFile:
    path: Path
    label: str


@dataclass(frozen=True, slots=True)
class Folder:
    files: list[LabelledFile]
    # Files beside the class folders: nothing says what they show.
    strays: list[Path] = field(default_factory=list)


def scan(root: Path) -> Folder:
    """In alphabetical order, so that each time the same images come first.

    Hidden files are passed over. Raises InvalidRequest, InvalidLabel.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InvalidRequest(f"{root} {what}; name a folder that holds one folder per class")
    found = Folder([])
    for entry in _visible(root):
        if not entry.is_dir():
            found.strays.append(entry)
            continue
        label = _label_of(entry)
        found.files.extend(LabelledFile(path, label) for path in _files(entry))
    if not found.files:
        raise InvalidRequest(
            f"{root} holds no images in folders; put them into one folder per class, "
            f"as in {root / 'cat' / 'photo.jpg'}"
        )
    return found


def decide(label: str, current: str | None, imported: str | None) -> Verdict:
    """What an image in the folder of `label` means for the one that is stored.

    `current` is the label that holds, `imported` the one that an import gave last. What people
    said after an import stands, until the image moves to another folder.
    """
    if current == label:
        return "already there"
    if imported == label:
        return "corrected since"
    return "added" if current is None else "relabelled"


def _label_of(folder: Path) -> str:
    try:
        return labels.normalise(folder.name)
    except InputError as error:
        raise InvalidLabel(f"the folder {folder.name!r} names no class: {error}") from error


def _files(folder: Path) -> list[Path]:
    """All that is no folder, however deep. A link to a folder is not followed, but named."""
    found = []
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(".") and name not in links]
        found += [Path(parent, name) for name in files + links if not name.startswith(".")]
    return sorted(found)


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InvalidRequest(f"{folder} cannot be read: {error.strerror}") from error
