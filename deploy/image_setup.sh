#!/bin/sh
# Runs as root while the image is built. A new volume mounted at /data takes its owner from here.
set -eu
install -d -o bentoml -g bentoml /data
