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

# A Maven repository: the runner, one for Beam 2.60 to 2.62 by its classifier, and a jar with the program for each platform by
# its classifier.
java() {
  local work repo jar
  work=$(mktemp -d)
  repo=$dist/java/io/github/pharos-beam/pharos-beam/$version
  rm -rf "$dist/java"
  mkdir -p "$repo"
  cp -r sdks/java/src "$work/src"
  sed "s/<version>0.1.0-SNAPSHOT</<version>$version</" sdks/java/pom.xml >"$work/pom.xml"
  mvn -q -B ${MAVEN_ARGS:-} -f "$work/pom.xml" -DskipTests package
  cp "$work/pom.xml" "$repo/pharos-beam-$version.pom"
  cp "$work/target/pharos-beam-$version.jar" "$repo/"
  scripts/relocate.py "$work/target/pharos-beam-$version.jar" "$repo/pharos-beam-$version-beam-2.60.jar" v1p69p0 v1p60p1
  for p in "${platforms[@]}"; do
    jar=$work/${p/\//-}/io/github/pharosbeam/program/${p/\//-}
    mkdir -p "$jar"
    cp "$(program_of "$p")" "$jar/pharos"
    sha256sum "$jar/pharos" | cut -d' ' -f1 | tr -d '\n' >"$jar/pharos.sha256"
    command jar --create --file "$repo/pharos-beam-$version-${p/\//-}.jar" -C "$work/${p/\//-}" io
  done
  rm -rf "$work"
}

# What a module proxy serves; GOPROXY=file://.../dist/go takes it from here.
go_modules() {
  rm -rf "$dist/go"
  for module in . sdks/go; do
    "${PYTHON:-python3}" scripts/gomodule.py "$module" "v$version" "$dist/go"
  done
}

# The runner, and for each platform a package with the program, which npm installs there only. Node has names of its own for
# platforms, and the runner looks for the package by them.
typescript() {
  local work p os cpu program
  rm -rf "$dist/typescript"
  mkdir -p "$dist/typescript"
  (cd sdks/typescript && npm pack --silent --pack-destination "$dist/typescript")
  for p in "${platforms[@]}"; do
    work=$(mktemp -d)
    os=${p%/*} cpu=${p#*/}
    program=pharos
    [ "$os" = windows ] && os=win32 program=pharos.exe
    [ "$cpu" = amd64 ] && cpu=x64
    cp "$(program_of "$p")" "$work/$program"
    cat >"$work/package.json" <<JSON
{
  "name": "pharos-beam-$os-$cpu",
  "version": "$version",
  "description": "The program of Pharos, a runner for Apache Beam, for $p",
  "license": "Apache-2.0",
  "os": ["$os"],
  "cpu": ["$cpu"],
  "bin": { "pharos": "$program" },
  "files": ["$program"]
}
JSON
    (cd "$work" && npm pack --silent --pack-destination "$dist/typescript")
    rm -rf "$work"
  done
}

for part in ${*:-program python java go typescript}; do
  [ "$part" = go ] && part=go_modules # go is a program here
  "$part"
done
