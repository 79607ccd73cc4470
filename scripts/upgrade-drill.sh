#!/bin/sh
# The upgrade drill: a streaming job that the binary of an earlier commit has started, and that was killed, is taken over by
# the binary of this one, and comes to the right result.
#
#   scripts/upgrade-drill.sh [COMMIT]          (default: HEAD~1)
#
# Needs Go, and Python for the job.
set -eu
cd "$(dirname "$0")/.."
commit=${1:-HEAD~1}
scripts/setup-python.sh
work=$(mktemp -d)
clean() {
  git worktree remove --force "$work/source" 2>/dev/null || true
  rm -rf "$work"
}
trap clean EXIT
if ! git rev-parse --verify --quiet "$commit^{commit}" >/dev/null; then
  echo "upgrade drill: skipped, for there is no commit $commit here"
  exit 0
fi
git worktree add --quiet --detach "$work/source" "$commit"
(cd "$work/source" && go build -o "$work/pharos" ./cmd/pharos)
if ! "$work/pharos" serve --help | grep -q -- '--client-timeout'; then
  echo "upgrade drill: skipped, for $(git rev-parse --short "$commit") has no durable jobs"
  exit 0
fi
go build -o bin/pharos ./cmd/pharos
echo "upgrade drill: from $(git rev-parse --short "$commit") to $(git rev-parse --short HEAD)"
go run ./crash --upgrade-from "$work/pharos" --ci
