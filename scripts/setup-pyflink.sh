#!/bin/sh
# Makes the Python environments of `make test-operator` and `make bench-operator` in the cache:
#   pyflink/   PyFlink with the Flink it brings along (about 900 MB): the harness to drive, and the
#              MiniCluster to compare with
#   operator/  what pharos_beam.udf runs on, and DuckDB to compare with
# Does nothing where they are there already.
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || {
  echo "setup-pyflink: $python is $("$python" --version 2>&1); PyFlink 2.3 needs Python 3.11 or 3.12 here (set PYTHON=...)" >&2
  exit 1
}

# make_venv NAME REQUIREMENTS... installs into $cache/NAME unless its stamp says that it is there.
make_venv() {
  name=$1
  shift
  venv=$cache/$name
  want="$("$python" --version 2>&1) $*"
  if [ -e "$venv/.installed" ] && [ "$(cat "$venv/.installed")" = "$want" ]; then return 0; fi
  echo "setup-pyflink: installing $* into $venv" >&2
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
  printf '%s\n' "$want" >"$venv/.installed"
}

make_venv pyflink apache-flink==2.3.0 "setuptools<81"
make_venv operator apache-beam==2.77.0 pyarrow==25.0.1 pandas==2.3.3 duckdb==1.4.4 pytest==9.2.0
