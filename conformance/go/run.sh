#!/bin/sh
# conformance/go/run.sh HOST:PORT OUT.json [-only FILE] [-timeout 90s] [-workers N] [-runner NAME]
#
# Beam's own Go pipeline tests against a job service; see goconf for what that means.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${PHAROS_CACHE:-$here/../../.cache}
mkdir -p "$cache/bin"
(cd "$here/goconf" && go build -o "$cache/bin/goconf" .)
if [ -x "$cache/venv/bin/python" ]; then
  set -- "$@" -python "$cache/venv/bin/python" -expansion-script "$here/../xlang_expansion.py"
fi
exec "$cache/bin/goconf" "$@" -cache "$cache/go" -root "$here/../.."
