#!/bin/sh
# conformance/python/run.sh HOST:PORT OUT.json [--only FILE] [--timeout SECONDS] [--workers N] [--runner NAME]
#
# Beam's own Python pipeline tests against a job service; kit.py --help says the rest.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../scripts/setup-python.sh"
export PYTHONPATH="$here/../../sdks/python${PYTHONPATH:+:$PYTHONPATH}"
exec "${PHAROS_CACHE:-$here/../../.cache}/venv/bin/python" "$here/kit.py" "$@"
