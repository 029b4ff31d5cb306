#!/bin/sh
# Runs as root while the image is built. A new volume at /data gets its owner from this folder.
set -eu
install -d -o bentoml -g bentoml /data
