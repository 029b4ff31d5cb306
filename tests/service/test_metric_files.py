"""Mapped files on a full disk: a process goes on, and counts in memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.system.files import allocate
from service.metric_files import MetricFile
from service.traffic.load_table import open_load_table
from tests.support.small_disk import filled, small_disk

pytestmark = pytest.mark.slow  # not in `make check`

ROOT = Path(__file__).parents[2]
_MANY = 2_000  # keys of more than 64 KiB together
_COUNT = f"""
from service import metrics
for i in range({_MANY}):
    metrics.requests.labels(f"/route/{{i}}", "GET", "200").inc()
metrics.predictions.inc(3)
text = metrics.render(None, (0, 0))
assert b'evergreen_predictions_total 3.0' in text, text[-500:]
assert text.count(b'evergreen_requests_total{{') == {_MANY}
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    # `render` reads the database after the counters of the processes.
    without_state = "from service import metrics; metrics._State.collect = lambda self: []\n"
    return subprocess.run(
        [sys.executable, "-c", without_state + code],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_metrics_of_a_full_disk_are_in_memory(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        with filled(disk):
            done = run(_COUNT, disk)
            assert done.returncode == 0, done.stderr[-2000:]
            assert done.stderr.count("metrics.in_memory") == 1
            assert not list(disk.glob("*.db*"))
        assert run(_COUNT, disk).returncode == 0
        assert len(list(disk.glob("*.db"))) == 2


def test_metrics_that_grow_on_a_full_disk_are_in_memory(tmp_path: Path) -> None:
    fill = """
import os
from pathlib import Path
file = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"], "ballast").open("wb", buffering=0)
try:
    while file.write(bytes(4096)): pass
except OSError: pass
"""
    with small_disk(tmp_path / "disk", 1) as disk:
        done = run(fill + _COUNT, disk)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stderr.count("metrics.in_memory") == 1


def test_hole_in_a_mapped_file_kills_the_process_that_writes_to_it(tmp_path: Path) -> None:
    """Why the files are allocated: the library's own file, on the same full disk."""
    plain = """
import os, sys
from prometheus_client.mmap_dict import MmapedDict
MmapedDict(os.path.join(os.environ["PROMETHEUS_MULTIPROC_DIR"], "counter_1.db"))
"""
    with small_disk(tmp_path / "disk", 1) as disk, filled(disk):
        assert run(plain, disk).returncode == -signal.SIGBUS


def test_file_that_grows_keeps_its_values(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    written = MetricFile(str(path))
    for i in range(_MANY):
        written.write_value(f"a key of some length, number {i}", float(i), 0.0)  # type: ignore[no-untyped-call]
    read = {key: value for key, value, _, _ in MetricFile.read_all_values_from_file(path)}  # type: ignore[no-untyped-call]
    assert len(read) == _MANY
    assert read[f"a key of some length, number {_MANY - 1}"] == _MANY - 1
    written.close()  # type: ignore[no-untyped-call]
    again = MetricFile(str(path))
    assert again.read_value("a key of some length, number 7")[0] == 7  # type: ignore[no-untyped-call]
    again.close()  # type: ignore[no-untyped-call]
    assert not MetricFile.is_in_memory


def test_full_disk_has_no_load_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", 1) as disk, filled(disk):
        assert open_load_table(disk, "host") is None
    assert [record.message for record in caplog.records] == ["load_table.unavailable"]


def test_allocated_file_has_no_holes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    allocate(path, 100_000)
    assert path.stat().st_size == 100_000
    assert path.stat().st_blocks * 512 >= 100_000
    assert path.read_bytes()[:5] == b"kept\0"
