from __future__ import annotations

import platform
from pathlib import Path

import pytest

from core.system import host


@pytest.mark.parametrize(
    ("machine", "flags", "is_cut"),
    [
        ("x86_64", "avx2 fma", True),
        ("x86_64", "avx2 avx512f avx512_vnni", False),
        ("AMD64", "avx2 avx_vnni", False),
        ("aarch64", "asimd", False),
        ("x86_64", None, True),
    ],
)
def test_products_are_cut_off_on_an_x86_without_vnni(
    machine: str, flags: str | None, is_cut: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"model name\t: a CPU\nflags\t\t: {flags}\n", encoding="utf-8")
    assert host.cuts_products_off(cpuinfo) is is_cut
