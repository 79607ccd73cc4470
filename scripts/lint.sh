#!/bin/sh
# gofmt, go vet and staticcheck on every Go module here, and whether the generated documents are up to date.
set -eu
cd "$(dirname "$0")/.."
bad=$(git ls-files '*.go' | xargs gofmt -l)
if [ -n "$bad" ]; then
  echo "lint: not formatted:" >&2
  echo "$bad" >&2
  exit 1
fi
go vet ./...
go tool staticcheck ./...
for module in conformance/versions/go examples/go bench/goload crash/gopipeline; do
  (cd "$module" && go vet ./...)
done
go run ./conformance/report --check
