#!/bin/sh
# Runs the fuzz targets of the module for FUZZTIME each (default 60s); an argument is a regular expression on their names.
set -eu
cd "$(dirname "$0")/.."
time=${FUZZTIME:-60s}
want=${1:-.}
targets=$(git grep -oE '^func Fuzz[A-Z][A-Za-z0-9_]*' -- '*_test.go' | sed -E 's#^(.*)/[^/]*:func (.*)$#\1 \2#' | sort)
echo "$targets" | while read -r dir target; do
  echo "$target" | grep -qE "$want" || continue
  echo "fuzz: ./$dir $target, $time"
  go test "./$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10s
done
