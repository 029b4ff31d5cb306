"""A folder of labelled images, `FOLDER/<label>/**/<image>`: its files, and what to do with each.

This module reads only names. `cli/import_folder.py` reads and labels the images.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from core.class_names import identity, normalise
from core.errors import InputError, InvalidLabel, InvalidRequest

Verdict = Literal["added", "already there", "corrected since", "relabelled"]


@dataclass(frozen=True, slots=True)
class LabelledFile:
    path: Path
    label: str


@dataclass(frozen=True, slots=True)
class Folder:
    files: list[LabelledFile]
    # Files outside the class folders, which therefore have no label.
    strays: list[Path] = field(default_factory=list)


def scan(root: Path) -> Folder:
    """List the files of a folder in alphabetical order, which is the same each time.

    Hidden files are left out. Raises InvalidRequest, InvalidLabel.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InvalidRequest(f"{root} {what}; name a folder that holds one folder per class")
    scanned = Folder([])
    for entry in _visible(root):
        if not entry.is_dir():
            scanned.strays.append(entry)
            continue
        label = _label_of(entry)
        scanned.files.extend(LabelledFile(path, label) for path in _files(entry))
    if not scanned.files:
        raise InvalidRequest(
            f"{root} holds no images in folders; put them into one folder per class, "
            f"as in {root / 'cat' / 'photo.jpg'}"
        )
    return scanned


def join_classes(
    files: Sequence[LabelledFile], known: Mapping[str, str]
) -> tuple[list[LabelledFile], dict[str, list[str]]]:
    """Give all spellings of a class one label: the stored one, or else that of the first folder.

    `known` has the stored label of each identity. Returns the files, and the spellings in folders
    by label, for each class that has another spelling than its label.
    """
    names = dict(known)
    spellings: dict[str, dict[str, None]] = {}
    joined = []
    for file in files:
        name = names.setdefault(identity(file.label), file.label)
        spellings.setdefault(name, {})[file.label] = None
        joined.append(replace(file, label=name))
    return joined, {name: list(each) for name, each in spellings.items() if list(each) != [name]}


def decide(label: str, current: str | None, imported: str | None) -> Verdict:
    """Decide what to do with an image in the folder of `label`.

    `current` is the stored label, `imported` the one that the last import gave. A correction made
    after an import stays, until the image moves to another folder.
    """
    if current == label:
        return "already there"
    if imported == label:
        return "corrected since"
    return "added" if current is None else "relabelled"


def _label_of(folder: Path) -> str:
    try:
        return normalise(folder.name)
    except InputError as error:
        raise InvalidLabel(f"the folder {folder.name!r} names no class: {error}") from error


def _files(folder: Path) -> list[Path]:
    """List all files below a folder. Links to folders are listed too, and not followed."""
    paths = []
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(".") and name not in links]
        paths += [Path(parent, name) for name in files + links if not name.startswith(".")]
    return sorted(paths)


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InvalidRequest(f"{folder} cannot be read: {error.strerror}") from error
