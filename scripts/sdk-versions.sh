#!/bin/bash
# Runs a smoke suite (conformance/versions) with the oldest, the newest and some more of the supported versions of each SDK,
# through the runners of this repository, and prints a table. Each version has an environment of its own in .cache/versions.
#
#   scripts/sdk-versions.sh [--write] [python] [java] [go] [typescript]        (default: all)
#
# --write puts the table into docs/sdk-versions.md. PYTHON_VERSIONS, JAVA_VERSIONS, GO_VERSIONS and TYPESCRIPT_VERSIONS name
# other versions; there, `NAME-VERSION.tsv` of conformance/results/versions has the outcome of each case, and .log all else.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
cache=${PHAROS_CACHE:-$PWD/.cache}/versions
results=$PWD/conformance/results/versions
limit=${LIMIT:-600} # seconds for one version's suite
export PHAROS_BINARY=$PWD/bin/pharos
mkdir -p "$results"

# suite SDK VERSION COMMAND...: runs a version's suite, which prints a line for each case. A suite that ends early fails as a whole.
suite() {
  local sdk=$1 version=$2 status=0
  shift 2
  echo "== sdk-versions: $sdk $version" >&2
  timeout "$limit" "$@" >"$results/$sdk-$version.tsv" 2>"$results/$sdk-$version.log" || status=$?
  if [ $status != 0 ]; then
    failed=1
    tail -n 5 "$results/$sdk-$version.log" >&2
    [ $status = 1 ] || printf 'suite\tended with exit code %d\n' "$status" >>"$results/$sdk-$version.tsv"
  fi
  cat "$results/$sdk-$version.tsv"
}

python() { # VERSION
  local venv=$cache/python/$1
  if [ ! -e "$venv/.installed" ]; then
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "apache-beam==$1"
    touch "$venv/.installed"
  fi
  PYTHONPATH=sdks/python suite python "$1" "$venv/bin/python" conformance/versions/python/smoke.py
}

# The jar is compiled once, as for users, and the class path is all of one version of Beam.
java() { # VERSION
  local dir=$cache/java/$1 jar=sdks/java/target/pharos-beam-0.1.0-SNAPSHOT.jar classpath
  mkdir -p "$dir"
  if [ ! -e "$cache/java/.packaged" ] || [ -n "$(find sdks/java/pom.xml sdks/java/src/main -newer "$cache/java/.packaged" -type f -print -quit)" ] || [ ! -e "$jar" ]; then
    mvn -q -B ${MAVEN_ARGS:-} -f sdks/java -DskipTests package >&2
    touch "$cache/java/.packaged"
  fi
  [ -s "$dir/classpath" ] || mvn -q -B ${MAVEN_ARGS:-} -f conformance/versions/java -Dbeam.version="$1" \
    dependency:build-classpath -Dmdep.outputFile="$dir/classpath" >&2
  if grep -q vendor-grpc-1_60_1 "$dir/classpath"; then
    scripts/relocate.py "$jar" "$dir/runner.jar" v1p69p0 v1p60p1
  else
    cp "$jar" "$dir/runner.jar"
  fi
  classpath=$dir/classes:$dir/runner.jar:$(cat "$dir/classpath")
  javac -nowarn -d "$dir/classes" -cp "$classpath" conformance/versions/java/Smoke.java
  suite java "$1" "$(command -v java)" -cp "$classpath" Smoke
}

# With the version that sdks/go is made for, in one process. Others cannot be in one program with the server, which needs that
# version's protocol buffers: they reach a server by Beam's own universal runner.
go_module() { # VERSION
  local dir=$cache/go/$1
  if grep -q "apache/beam/sdks/v2 v$1\$" conformance/versions/go/go.mod; then
    go build -C conformance/versions/go -o "$cache/go/smoke-$1" .
    suite go "$1" "$cache/go/smoke-$1" --runner=pharos --pharos_max_attempts=1
    return
  fi
  mkdir -p "$dir"
  cp conformance/versions/go/main.go "$dir/"
  (
    cd "$dir"
    [ -e go.mod ] || GOWORK=off go mod init smoke
    GOFLAGS=-mod=mod go get "github.com/apache/beam/sdks/v2@v$1"
    GOFLAGS=-mod=mod go build -o smoke .
  ) >&2
  suite go "$1" "$PHAROS_BINARY" run --sdk go --max-attempts 1 -- "$dir/smoke"
}

typescript() { # VERSION
  local dir=$cache/typescript/$1
  if [ ! -e "$dir/.installed" ]; then
    rm -rf "$dir"
    mkdir -p "$dir"
    (cd "$dir" && echo '{"private":true}' >package.json &&
      npm install --no-audit --no-fund --ignore-scripts --loglevel=error "apache-beam@$1" >&2)
    touch "$dir/.installed"
  fi
  NODE_PATH=$dir/node_modules suite typescript "$1" node conformance/versions/typescript/smoke.js
}

write=
failed=0
sdks=()
for argument; do
  if [ "$argument" = --write ]; then write=docs/sdk-versions.md; else sdks+=("$argument"); fi
done
go build -o bin/pharos ./cmd/pharos
for sdk in ${sdks[*]:-python java go typescript}; do
  case $sdk in
    python) for v in ${PYTHON_VERSIONS:-2.60.0 2.62.0 2.63.0 2.65.0 2.77.0}; do python "$v"; done ;;
    java) for v in ${JAVA_VERSIONS:-2.60.0 2.62.0 2.63.0 2.73.0}; do java "$v"; done ;;
    go) for v in ${GO_VERSIONS:-2.60.0 2.77.0}; do go_module "$v"; done ;;
    typescript) for v in ${TYPESCRIPT_VERSIONS:-2.49.0}; do typescript "$v"; done ;;
    *) echo "sdk-versions: what is $sdk?" >&2; exit 2 ;;
  esac
done
"${PYTHON:-python3}" scripts/versions-table.py "$results" $write
exit $failed
