"""Exit codes, stable for scripts.

0    done
1    failed: a run or a promotion failed, nothing could be imported, or `doctor` found a problem
2    the command or its input is wrong (InputError)
3    not possible in this state, or the gate held the version back (StateError)
4    a file of a version is damaged (ArtifactError), or `doctor` found lost images or files
5    the database or the blob store is unavailable (StoreError)
6    the database needs a migration that a person must start; do not restart (MigrationNeeded)
130  stopped by Ctrl-C
"""

from __future__ import annotations

from core.errors import (
    ArtifactError,
    EvergreenError,
    InputError,
    MigrationNeeded,
    StateError,
    StoreError,
)

DONE = 0
FAILED = 1
INPUT = 2
STATE = 3
ARTIFACT = 4
STORE = 5
MIGRATION = 6
INTERRUPTED = 130

SUMMARY = (
    "Exit codes: 0 done; 1 failed; 2 wrong input; 3 not possible now, or held back by the gate; "
    "4 damaged or lost files; 5 storage unavailable; 6 migration needed."
)

_CODES: tuple[tuple[type[EvergreenError], int], ...] = (
    (InputError, INPUT),
    (MigrationNeeded, MIGRATION),
    (StateError, STATE),
    (ArtifactError, ARTIFACT),
    (StoreError, STORE),
)


def exit_code(error: EvergreenError) -> int:
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
