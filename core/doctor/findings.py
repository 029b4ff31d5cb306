"""What a check finds: a problem, or a fact that is worth a line."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finding:
    # Such as blobs, versions, database, permissions, disk.
    area: str
    text: str
    # What to do about it.
    remedy: str = ""
    is_problem: bool = True
    # What was done about it. Empty: nothing.
    repaired: str = ""

    @property
    def is_open(self) -> bool:
        return self.is_problem and not self.repaired


@dataclass(slots=True)
class Report:
    findings: list[Finding] = field(default_factory=list)
    num_blobs: int = 0
    num_bytes: int = 0
    # Blobs that no row names.
    num_orphans: int = 0
    # Where the check of the blobs ended early; None: it did not.
    resume_from: str | None = None
    # The blob store stopped answering.
    is_unreachable: bool = False

    def add(self, finding: Finding) -> None:
        self.findings.append(finding)

    @property
    def is_sound(self) -> bool:
        return not any(finding.is_open for finding in self.findings)


def fact(area: str, text: str) -> Finding:
    return Finding(area, text, is_problem=False)
