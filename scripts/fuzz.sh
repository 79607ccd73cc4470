#!/bin/sh
# Runs the fuzz targets of the module for FUZZTIME each (default 60s), two at a time with one worker each; an argument is
# a regular expression on their names.
set -eu
cd "$(dirname "$0")/.."
FUZZTIME=${FUZZTIME:-60s}
export FUZZTIME
git grep -oE '^func Fuzz[A-Z][A-Za-z0-9_]*' -- '*_test.go' | sed -E 's#^(.*)/[^/]*:func (.*)$#\1 \2#' | sort |
  awk -v want="${1:-.}" '$2 ~ want' |
  xargs -P 2 -n 2 sh -c '
    echo "fuzz: ./$1 $2, $FUZZTIME"
    go test "./$1" -run "^$" -fuzz "^$2\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 10s -parallel 1' fuzz
