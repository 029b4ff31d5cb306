"""What a server uses at a moment, by /proc and the home folder, and whether it levels off."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from bench.durability.faults import command_of, processes_of
from tests.support.processes import MIB, rss_mib

Sample = dict[str, float]
# Growth below this share of the value in an hour is none.
_LITTLE = 0.05
_CONFIDENCE = 0.95


def take(home: Path) -> Sample:
    """By figure. Of several processes of one role, the largest."""
    sample: Sample = {}
    for pid in processes_of(home):
        role = _role(pid)
        if role is None:
            continue
        figures = {
            f"{role}: memory, MiB": rss_mib(pid),
            f"{role}: files": float(_entries(pid, "fd")),
            f"{role}: threads": float(_entries(pid, "task")),
        }
        for name, value in figures.items():
            sample[name] = max(value, sample.get(name, 0.0))
    for path in home.iterdir():
        if path.suffix != ".log" and path.name != "bentoml":
            sample[f"disk: {path.name}, MiB"] = _num_bytes(path) / MIB
    return sample


@dataclass(frozen=True, slots=True)
class Trend:
    first: float
    last: float
    # Over the second half of the samples, by the hour, with half its interval of 95 %.
    per_hour: float
    margin: float

    @property
    def levels_off(self) -> bool:
        """The growth may be none, or is little."""
        least = self.per_hour - self.margin
        return least <= _LITTLE * max(abs(self.last), 1.0)


def trend(minutes: Sequence[float], values: Sequence[float]) -> Trend:
    """Raises ValueError with fewer than six samples."""
    half = len(values) // 2
    hours, late = np.asarray(minutes[half:]) / 60, np.asarray(values[half:])
    if len(late) < 3:
        raise ValueError("a trend needs six samples; run for longer")
    if np.ptp(late) == 0:  # its slope has no error that could be calculated
        return Trend(values[0], values[-1], 0.0, 0.0)
    fit = stats.linregress(hours, late)
    quantile = stats.t.ppf(0.5 + _CONFIDENCE / 2, len(late) - 2)
    return Trend(values[0], values[-1], float(fit.slope), float(fit.stderr * quantile))


def _role(pid: int) -> str | None:
    command = command_of(pid)
    if b"training" in command:
        return "long run" if b"--one-long-run" in command else "trainer"
    if b"--worker-id" not in command:
        return "master" if b"serve" in command else None
    return "trainer's service" if b"Trainer" in command else "worker"


def _entries(pid: int, folder: str) -> int:
    with contextlib.suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{pid}/{folder}").iterdir())
    return 0


def _num_bytes(path: Path) -> int:
    total = 0
    for file in path.rglob("*") if path.is_dir() else (path,):
        with contextlib.suppress(OSError):  # deleted meanwhile
            total += file.lstat().st_size
    return total
