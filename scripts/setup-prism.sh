#!/bin/sh
# Installs Prism, Beam's own Go runner, as .cache/bin/prism: the peer that conformance and benchmarks compare with.
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
version=v2.77.0
[ ! -x "$cache/bin/prism-$version" ] || exit 0
echo "setup-prism: building Prism $version" >&2
mkdir -p "$cache/bin"
GOBIN=$cache/bin GOFLAGS=-mod=mod go install "github.com/apache/beam/sdks/v2/go/cmd/prism@$version"
mv "$cache/bin/prism" "$cache/bin/prism-$version"
ln -sf "prism-$version" "$cache/bin/prism"
