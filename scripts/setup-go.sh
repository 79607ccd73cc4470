#!/bin/sh
# Compiles Beam's Go tests for the Go kit (.cache/go). The first time takes minutes; packages may be named to compile
# only those (see conformance/go/goconf/packages.go).
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
mkdir -p "$cache/bin"
go build -o "$cache/bin/goconf" ./conformance/go/goconf
exec "$cache/bin/goconf" build "$@" -cache "$cache/go"
