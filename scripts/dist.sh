#!/bin/bash
# Builds everything that users install into dist/: the program, Python wheels, Java jars, the Go module and the npm package.
#
#   scripts/dist.sh [program] [python] [java] [go] [typescript]        (default: all)
#
# PLATFORMS names the platforms, as Go calls them (default: all that there are wheels for).
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n "s/^VERSION = '\(.*\)'$/\1/p" sdks/python/pharos_beam/version.py)
platforms=(${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64})
dist=$PWD/dist
mkdir -p "$dist"

program_of() { # PLATFORM: the path of its program
  local suffix=
  [[ $1 == windows/* ]] && suffix=.exe
  echo "$dist/program/pharos-$version-${1/\//-}$suffix"
}

# Linked without C, the program runs on any Linux of its architecture.
program() {
  rm -rf "$dist/program"
  mkdir -p "$dist/program"
  for p in "${platforms[@]}"; do
    CGO_ENABLED=0 GOOS=${p%/*} GOARCH=${p#*/} go build -trimpath -ldflags "-s -w -X main.version=$version" \
      -o "$(program_of "$p")" ./cmd/pharos
  done
}

# The oldest systems are those that Go itself supports.
wheel_tag() {
  case $1 in
    linux/amd64) echo py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.musllinux_1_1_x86_64 ;;
    linux/arm64) echo py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64.musllinux_1_1_aarch64 ;;
    darwin/amd64) echo py3-none-macosx_12_0_x86_64 ;;
    darwin/arm64) echo py3-none-macosx_12_0_arm64 ;;
    windows/amd64) echo py3-none-win_amd64 ;;
    *) echo "dist: there is no wheel for $1" >&2; return 1 ;;
  esac
}

python() {
  local work
  work=$(mktemp -d)
  cp -r sdks/python "$work/source" # a build leaves folders behind
  rm -rf "$work/source/build" "$work/source"/*.egg-info
  "${PYTHON:-python3}" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" "$work/source"
  rm -rf "$dist/python"
  mkdir -p "$dist/python"
  for p in "${platforms[@]}"; do
    "${PYTHON:-python3}" scripts/wheel.py "$work"/*.whl "$(wheel_tag "$p")" "$(program_of "$p")" "$dist/python"
  done
  rm -rf "$work"
}

for part in ${*:-program python}; do
  "$part"
done
