#!/bin/sh
# Runs the fuzz targets of the module for FUZZTIME each (default 60s), two at a time with one worker each; an argument is
# a regular expression on their names.
#
# Now and then Go fails a target for nothing but the end of its time (https://go.dev/issue/75804, mended in Go 1.27): that
# is told from what a target has found, which names an input or a worker's end, and the target runs again.
set -eu
cd "$(dirname "$0")/.."
export FUZZTIME="${FUZZTIME:-60s}" FUZZ_TRIES=3
git grep -oE '^func Fuzz[A-Z][A-Za-z0-9_]*' -- '*_test.go' | sed -E 's#^(.*)/[^/]*:func (.*)$#\1 \2#' | sort |
  awk -v want="${1:-.}" '$2 ~ want' |
  xargs -P 2 -n 2 sh -c '
    log=$(mktemp)
    trap "rm -f \"$log\"" EXIT
    try=1
    while :; do
      echo "fuzz: ./$1 $2, $FUZZTIME"
      if go test "./$1" -run "^$" -fuzz "^$2\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 10s -parallel 1 >"$log" 2>&1; then
        cat "$log"
        exit 0
      fi
      cat "$log"
      # Between the headline and the verdict there is that one line.
      said=$(sed -n "/^--- FAIL: $2 /,/^FAIL/p" "$log" | sed "1d;\$d;s/^ *//")
      if [ "$said" != "context deadline exceeded" ] || [ $try = $FUZZ_TRIES ]; then exit 1; fi
      try=$((try + 1))
      echo "fuzz: $2 has found nothing, and runs again"
    done' fuzz
