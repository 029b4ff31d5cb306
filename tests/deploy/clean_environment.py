"""A Python environment like that of a Bento's image: the Bento's requirements and their own
requirements, without Evergreen and without torch.
"""

from __future__ import annotations

import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def make(folder: Path, requirements: list[str]) -> Path:
    """Return the folder of its programs. Its packages are links to those of this Python."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    for package in closure(requirements):
        for name in {path.parts[0] for path in package.files or () if path.parts[0] != ".."}:
            link = site / name
            if not link.exists():
                link.symlink_to(Path(str(package.locate_file(name))))
    programs = folder / "bin"
    script = (Path(sys.executable).parent / "bentoml").read_text()
    (programs / "bentoml").write_text(f"#!{programs / 'python'}\n" + script.partition("\n")[2])
    (programs / "bentoml").chmod(0o755)
    return programs


def closure(requirements: list[str]) -> list[Distribution]:
    """The installed packages of the requirements, and recursively their own requirements."""
    found: dict[str, Distribution] = {}
    seen: set[str] = set()
    waiting = [(Requirement(line), "") for line in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        package = distribution(requirement.name)
        found[requirement.name.lower()] = package
        for wanted in {"", *requirement.extras}:
            key = f"{requirement.name}[{wanted}]"
            if key not in seen:
                seen.add(key)
                waiting += [(Requirement(line), wanted) for line in package.requires or ()]
    return list(found.values())
