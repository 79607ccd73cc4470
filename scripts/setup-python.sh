#!/bin/sh
# Makes the Python environment of the demo and of the Python kit: .cache/venv, with exactly what
# conformance/python/requirements.txt pins. Does nothing where that is there already.
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
python=${PYTHON:-python3}
requirements=conformance/python/requirements.txt
venv=$cache/venv
stamp=$venv/.installed
want="$("$python" --version 2>&1) $(cksum <"$requirements")"
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then exit 0; fi
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || {
  echo "setup-python: $python is $("$python" --version 2>&1); Beam 2.77 needs Python 3.11 to 3.13 here (set PYTHON=...)" >&2
  exit 1
}
echo "setup-python: installing Beam's Python SDK into $venv" >&2
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
printf '%s\n' "$want" >"$stamp"
