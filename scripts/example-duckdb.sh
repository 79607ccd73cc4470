#!/bin/sh
# Runs examples/duckdb: functions by chunk beside DuckDB's own, then over Arrow.
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
PYTHON=$cache/operator/bin/python
PYTHONPATH=$PWD/sdks/python
export PYTHON PYTHONPATH
cd examples/duckdb
go run . -peer "$@"
go run -tags duckdb_arrow . -arrow "$@"
