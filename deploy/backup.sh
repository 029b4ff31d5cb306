#!/bin/sh
# deploy/backup.sh HOME TARGET
#
# Copies the embedded database and the blobs while Evergreen runs. The database goes first: each
# blob was written before the row that names it, so all that the copy names is there to be copied
# after it. Into the same TARGET again, only new blobs are copied.
set -eu
home=$1 target=$2
mkdir -p "$target/blobs"
rm -f "$target/evergreen.db.new"
"${PYTHON:-python3}" - "$home/evergreen.db" "$target/evergreen.db.new" <<'PY'
import pathlib
import sqlite3
import sys

source, copy = sys.argv[1:]
# Read-write, as a reader of a database in WAL mode must be; it is not changed.
database = sqlite3.connect(f"{pathlib.Path(source).absolute().as_uri()}?mode=rw", uri=True)
database.execute("VACUUM INTO ?", (copy,))
PY
# A blob is named by what it holds, so one that is there already is the same one.
(cd "$home/blobs" && find . -type f ! -name '.new-*') | while IFS= read -r blob; do
    [ -e "$target/blobs/$blob" ] && continue
    mkdir -p "$target/blobs/$(dirname "$blob")"
    cp -p "$home/blobs/$blob" "$target/blobs/$blob.new"
    mv "$target/blobs/$blob.new" "$target/blobs/$blob"
done
# Last: a copy that was cut short leaves the one before it as it was.
mv "$target/evergreen.db.new" "$target/evergreen.db"
