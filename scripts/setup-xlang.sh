#!/bin/sh
# Makes what Beam's cross-language tests for Java need of Python: the environment of setup-python, and beside it (.cache/xlang)
# what the transforms under test import. Does nothing where that is there already.
set -eu
cd "$(dirname "$0")/.."
scripts/setup-python.sh
cache=${PHAROS_CACHE:-$PWD/.cache}
target=$cache/xlang
want="beautifulsoup4==4.15.0 soupsieve==4.1.3"
if [ -e "$target/.installed" ] && [ "$(cat "$target/.installed")" = "$want" ]; then exit 0; fi
rm -rf "$target"
# shellcheck disable=SC2086 # several packages
"$cache/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$target" $want
printf '%s\n' "$want" >"$target/.installed"
