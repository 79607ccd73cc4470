#!/bin/sh
# Beam's own Python word count and our Go and TypeScript word counts of the King James Bible, through Pharos. All
# counts are compared with a count that has nothing to do with Beam (tr, sort and uniq).
#
#   scripts/demo.sh [python] [go] [typescript]          (default: python go)
#
# Needs Go, and Python or Node for their demos. PHAROS names the binary (default bin/pharos, built first).
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
text=$PWD/examples/data/kjv.txt
pharos=${PHAROS:-bin/pharos}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

[ -n "${PHAROS:-}" ] || go build -o bin/pharos ./cmd/pharos
LC_ALL=C tr -cs "A-Za-z0-9_'" '\n' <"$text" | sed '/^$/d' | LC_ALL=C sort | uniq -c |
  awk '{print $2 ": " $1}' | LC_ALL=C sort >"$out/want"

# check NAME: compares $out/NAME* with the independent count.
check() {
  LC_ALL=C sort "$out/$1"-* >"$out/got"
  if ! cmp -s "$out/got" "$out/want"; then
    echo "demo: $1: the counts differ from the independent count:" >&2
    diff "$out/want" "$out/got" | head -20 >&2
    exit 1
  fi
  echo "The ten most frequent words ($1):"
  sort -t: -k2,2nr -k1,1 "$out/got" | head -10 | awk -F': ' '{printf "  %7d  %s\n", $2, $1}'
  echo "All $(wc -l <"$out/got" | tr -d ' ') counts are equal to the independent count."
}

for sdk in ${*:-python go}; do
  echo
  echo "== $sdk: words of examples/data/kjv.txt ($(wc -c <"$text" | tr -d ' ') bytes)"
  case $sdk in
    python)
      scripts/setup-python.sh
      "$pharos" run -- "$cache/venv/bin/python" -m apache_beam.examples.wordcount --input "$text" --output "$out/python"
      ;;
    go)
      (cd examples/go && go build -o "$cache/bin/wordcount" ./wordcount)
      "$pharos" run -- "$cache/bin/wordcount" --input "$text" --output "$out/go-counts"
      ;;
    typescript)
      (cd examples/typescript && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error && npm run --silent build) >&2
      # The SDK prints each instruction that its worker gets.
      "$pharos" run -- node examples/typescript/dist/wordcount.js --input="$text" --output="$out/typescript-counts" >"$out/log"
      ;;
    *) echo "demo: no such SDK: $sdk" >&2; exit 2 ;;
  esac
  check "$sdk"
done
