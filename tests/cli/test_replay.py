"""`evergreen replay`, of what cannot be replayed; `tests/training` replays real versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.exit_codes import INPUT
from tests.cli.conftest import Run

pytestmark = pytest.mark.slow  # not in `make check`


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("1", "version 1 was not trained on labels"),
        ("7", "version 7 does not exist"),
        ("01a22fdf-8ecd-74dd-a027-245b5267ea78", "made no version"),
        ("x", "run 'x' made no version"),
    ],
)
def test_what_cannot_be_replayed_says_so(home: Path, run: Run, which: str, message: str) -> None:
    result = run("replay", which)
    assert result.exit_code == INPUT
    assert message in result.stderr
