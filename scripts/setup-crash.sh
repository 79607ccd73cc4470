#!/bin/sh
# Builds what the crash suite needs beside Python: the runner, and the program of its batch job.
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
scripts/setup-python.sh
go build -o bin/pharos ./cmd/pharos
(cd crash/gopipeline && go build -o "$cache/bin/crash-batch" .)
