"""Descriptions of Debian packages with their sections, from the lists that apt keeps.

They need no download of their own: `apt-cache dumpavail` prints what `apt-get update` fetched. A
text is the one line that describes a package, without the package's name.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.support.tickets import LabelledText

# The twelve largest sections that say what a package is for. Others name a programming language, a
# desktop or a kind of file, such as libs and doc, and utils and misc say nothing.
SECTIONS = (
    "admin", "editors", "fonts", "games", "graphics", "mail",
    "math", "net", "science", "sound", "text", "web",
)  # fmt: skip
_FIELDS = ("Package", "Section", "Description")
_REMEDY = "the bench needs Debian or Ubuntu with apt: run apt-get update, and start it again"


def descriptions(
    per_section: int, seed: int = 0, sections: Sequence[str] = SECTIONS
) -> list[LabelledText]:
    """Draw so many distinct descriptions of each section, shuffled; the label is the section.

    The same lists give the same texts. Raises SystemExit where apt or its lists are missing.
    """
    texts = parse(_dump())
    return draw({section: texts.get(section, []) for section in sections}, per_section, seed)


def draw(texts: dict[str, list[str]], per_section: int, seed: int) -> list[LabelledText]:
    """Raises SystemExit if a section has fewer texts."""
    rng = random.Random(seed)
    drawn = []
    for section, own in texts.items():
        if len(own) < per_section:
            raise SystemExit(
                f"section {section} has {len(own)} descriptions, and {per_section} are needed; "
                f"{_REMEDY}"
            )
        drawn += [LabelledText(text, section) for text in rng.sample(own, per_section)]
    rng.shuffle(drawn)
    return drawn


def parse(dump: str) -> dict[str, list[str]]:
    """Return the texts of each section, sorted. Texts of several sections are left out.

    Two texts are the same if they differ only by case, spaces and punctuation.
    """
    sections: dict[str, set[str]] = defaultdict(set)
    texts: dict[str, str] = {}
    for package, section, description in _packages(dump):
        text = _without_name(description, package)
        key = " ".join(re.findall(r"\w+", text.casefold()))
        if key:
            sections[key].add(section)
            texts[key] = min(text, texts.get(key, text))
    by_section: dict[str, list[str]] = defaultdict(list)
    for key, names in sections.items():
        if len(names) == 1:
            by_section[min(names)].append(texts[key])
    return {section: sorted(own) for section, own in by_section.items()}


def _packages(dump: str) -> Iterator[tuple[str, str, str]]:
    for paragraph in dump.split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines())
        fields = {name: value.strip() for name, _, value in lines if name in _FIELDS}
        if len(fields) == len(_FIELDS):
            # Sections outside of Debian's main area are named as contrib/net.
            yield fields["Package"], fields["Section"].split("/")[-1], fields["Description"]


def _without_name(description: str, package: str) -> str:
    name = rf"(?<!\w){re.escape(package)}(?!\w)"
    return " ".join(re.sub(name, "", description, flags=re.IGNORECASE).split()).strip(" -:,")


def _dump() -> str:
    if shutil.which("apt-cache") is None:
        raise SystemExit(f"there is no apt-cache on this machine; {_REMEDY}")
    done = subprocess.run(
        ["apt-cache", "dumpavail"], capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"apt-cache dumpavail failed: {done.stderr.strip()[:200]}; {_REMEDY}")
    return done.stdout
