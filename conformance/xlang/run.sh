#!/bin/sh
# conformance/xlang/run.sh HOST:PORT OUT.json [--only FILE] [--timeout SECONDS] [--runner NAME]
#
# Python pipelines with Java transforms against a job service: Beam's own Java expansion service expands them, and the
# Java workers are, in turn, that service's own (EXTERNAL) and processes which the runner starts (PROCESS).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../scripts/setup-python.sh"
"$here/../../scripts/setup-java.sh"
export PYTHONPATH="$here/../../sdks/python${PYTHONPATH:+:$PYTHONPATH}"
exec "${PHAROS_CACHE:-$here/../../.cache}/venv/bin/python" "$here/kit.py" "$@"
