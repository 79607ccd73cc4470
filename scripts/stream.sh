#!/bin/sh
# A stream of clicks without an end, counted in windows and printed as each window closes, and drained after a while:
# then the windows that are still open are printed, too, and every click has been counted exactly once.
#
#   scripts/stream.sh python|go [SECONDS]          (default: 20 seconds)
#
# Needs Go, and Python for its pipeline. PHAROS names the binary (default bin/pharos, built first).
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
pharos=${PHAROS:-bin/pharos}
sdk=${1:?python or go}
seconds=${2:-20}

[ -n "${PHAROS:-}" ] || go build -o bin/pharos ./cmd/pharos
case $sdk in
  python)
    scripts/setup-python.sh
    set -- "$cache/venv/bin/python" examples/python/stream.py
    ;;
  go)
    (cd examples/go && go build -o "$cache/bin/stream" ./stream)
    set -- "$cache/bin/stream"
    ;;
  *) echo "stream: no such SDK: $sdk" >&2; exit 2 ;;
esac
echo "== $sdk: clicks for each page, by windows of 5 seconds, for about $seconds seconds" >&2
exec "$pharos" run --drain-after "${seconds}s" -- "$@"
