"""python deploy/backup.py HOME TARGET

Copies the embedded database and the blobs of the folder HOME into the folder TARGET, while
Evergreen runs. Needs only Python. A second backup into TARGET copies only new blobs.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from pathlib import Path


def backup(home: Path, target: Path) -> int:
    """Return how many blobs were copied. If interrupted, the previous backup stays complete."""
    (target / "blobs").mkdir(parents=True, exist_ok=True)
    unfinished = target / "evergreen.db.new"
    unfinished.unlink(missing_ok=True)
    # The database first: a blob is written before its row, so every blob that this copy names
    # exists by now.
    source = (home / "evergreen.db").absolute().as_uri()
    database = sqlite3.connect(f"{source}?mode=rw", uri=True, timeout=30)
    database.execute("VACUUM INTO ?", (str(unfinished),))
    database.close()
    num_copied = sum(copy_blob(path, target / "blobs") for path in (home / "blobs").glob("??/*"))
    unfinished.replace(target / "evergreen.db")
    return num_copied


def copy_blob(path: Path, blobs: Path) -> bool:
    """Return False if the copy exists (a blob is named by its digest), or if the blob is
    unfinished or was deleted meanwhile."""
    copy = blobs / path.parent.name / path.name
    if path.name.startswith(".") or copy.exists():
        return False
    copy.parent.mkdir(exist_ok=True)
    unfinished = copy.with_name(".new-backup")
    try:
        shutil.copyfile(path, unfinished)
    except FileNotFoundError:
        return False
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())
    unfinished.replace(copy)
    return True


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(f"copied the database and {backup(Path(sys.argv[1]), Path(sys.argv[2])):,} new blobs")
