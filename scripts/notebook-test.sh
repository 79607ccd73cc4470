#!/bin/sh
# Runs the notebook tests of sdks/python with bin/pharos, in an environment of their own, .cache/notebook: interactive Beam and
# Jupyter are large.
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
venv=$cache/notebook
beam=$(grep '^apache-beam==' conformance/python/requirements.txt | cut -d= -f3)
want="apache-beam[interactive]==$beam nbconvert ipykernel pytest"
if [ ! -e "$venv/.installed" ] || [ "$(cat "$venv/.installed")" != "$want" ]; then
  echo "notebook-test: installing interactive Beam and Jupyter into $venv" >&2
  rm -rf "$venv"
  "${PYTHON:-python3}" -m venv "$venv"
  # shellcheck disable=SC2086 # a list of packages
  "$venv/bin/pip" install --quiet --disable-pip-version-check $want
  printf '%s\n' "$want" >"$venv/.installed"
fi
PYTHONPATH=$PWD/sdks/python PHAROS_BINARY=$PWD/bin/pharos "$venv/bin/python" -m pytest -q sdks/python/tests/test_notebook.py
