#!/bin/bash
# Installs what scripts/dist.sh has built in empty environments, with nothing but the public registries, and runs each
# SDK's own word count with the runner named and nothing else.
#
#   scripts/release-check.sh [python] [java] [go] [typescript]         (default: python java go)
#
# BEAM_PYTHON, BEAM_JAVA and BEAM_GO are the versions of the SDKs (default: the newest that are supported).
# scripts/versions.sh runs this with the oldest as well.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
text=$PWD/examples/data/kjv.txt
cache=${PHAROS_CACHE:-$PWD/.cache}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

want() {
  LC_ALL=C tr -cs "A-Za-z0-9_'" '\n' <"$text" | sed '/^$/d' | LC_ALL=C sort | uniq -c | awk '{print $2 ": " $1}' |
    LC_ALL=C sort
}

# check NAME: compares the counts in $work/NAME/counts* with some that have nothing to do with Beam.
check() {
  LC_ALL=C sort "$work/$1"/counts* >"$work/$1/got"
  cmp "$work/$1/got" "$work/want"
  echo "release-check: $1: all $(wc -l <"$work/want" | tr -d ' ') counts are right"
}

# Nothing of this repository helps: no server, no program on the PATH, no variables.
clean() { env -u PHAROS_BINARY -u PHAROS_SERVER -u PYTHONPATH -u CLASSPATH "$@"; }

python() {
  local beam=${BEAM_PYTHON:-2.77.0} wheels=("$root"/dist/python/*"$(uname -s | tr '[:upper:]' '[:lower:]')"*"$(uname -m)"*.whl)
  mkdir "$work/python"
  "${PYTHON:-python3}" -m venv "$work/python/venv"
  "$work/python/venv/bin/pip" install --quiet --disable-pip-version-check "apache-beam==$beam" "${wheels[0]}"
  (cd "$work/python" && clean venv/bin/python -m apache_beam.examples.wordcount --input "$text" --output counts \
    --runner=pharos_beam.PharosRunner)
  check python
  clean "$work/python/venv/bin/pharos" version
}

want >"$work/want"
for sdk in ${*:-python}; do
  echo "== release-check: $sdk"
  "$sdk"
done
