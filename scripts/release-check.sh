#!/bin/bash
# Installs what scripts/dist.sh has built in empty environments, with nothing but the public registries, and runs each
# SDK's own word count with the runner named and nothing else.
#
#   scripts/release-check.sh [python] [java] [go] [typescript]         (default: all)
#
# BEAM_PYTHON, BEAM_JAVA, BEAM_GO and BEAM_TYPESCRIPT are the versions of the SDKs (default: the newest that are supported).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
text=$PWD/examples/data/kjv.txt
cache=${PHAROS_CACHE:-$PWD/.cache}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# check NAME WORD [TEXT]: compares the counts in $work/NAME/counts* with some that have nothing to do with Beam. WORD is what
# that SDK's word count takes for a word, as a regular expression.
check() {
  grep -oE "$2" "${3:-$text}" | LC_ALL=C sort | uniq -c | awk '{print $2 ": " $1}' | LC_ALL=C sort >"$work/$1/want"
  LC_ALL=C sort "$work/$1"/counts* >"$work/$1/got"
  cmp "$work/$1/got" "$work/$1/want"
  echo "release-check: $1: all $(wc -l <"$work/$1/want" | tr -d ' ') counts are right"
}

# Nothing of this repository helps: no server, no program on the PATH, no variables.
clean() { env -u PHAROS_BINARY -u PHAROS_SERVER -u PYTHONPATH -u CLASSPATH -u NODE_PATH "$@"; }

python() {
  local beam=${BEAM_PYTHON:-2.77.0} wheels=("$root"/dist/python/*"$(uname -s | tr '[:upper:]' '[:lower:]')"*"$(uname -m)"*.whl)
  mkdir "$work/python"
  "${PYTHON:-python3}" -m venv "$work/python/venv"
  "$work/python/venv/bin/pip" install --quiet --disable-pip-version-check "apache-beam==$beam" "${wheels[0]}"
  (cd "$work/python" && clean venv/bin/python -m apache_beam.examples.wordcount --input "$text" --output counts \
    --runner=pharos_beam.PharosRunner)
  check python "[A-Za-z0-9_']+"
  clean "$work/python/venv/bin/pharos" version
}

# An empty Maven project. Beam does not publish its Java examples, so the word count is ours.
java() {
  local beam=${BEAM_JAVA:-2.73.0} platform
  platform=$(go env GOOS)-$(go env GOARCH)
  mkdir "$work/java"
  cat >"$work/java/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>check</groupId><artifactId>check</artifactId><version>1</version>
  <repositories><repository><id>dist</id><url>file://$root/dist/java</url></repository></repositories>
  <dependencies>
    <dependency><groupId>io.github.pharos-beam</groupId><artifactId>pharos-beam</artifactId><version>$version</version></dependency>
    <dependency><groupId>io.github.pharos-beam</groupId><artifactId>pharos-beam</artifactId><version>$version</version><classifier>$platform</classifier></dependency>
    <dependency><groupId>org.apache.beam</groupId><artifactId>beam-sdks-java-core</artifactId><version>$beam</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-jdk14</artifactId><version>2.0.16</version></dependency>
  </dependencies>
</project>
POM
  rm -rf "${HOME:?}/.m2/repository/io/github/pharos-beam/pharos-beam/$version" # of a build before
  mvn -q -B ${MAVEN_ARGS:-} -f "$work/java/pom.xml" dependency:build-classpath -Dmdep.outputFile="$work/java/classpath"
  javac -d "$work/java/classes" -cp "$(cat "$work/java/classpath")" examples/java/WordCount.java
  (cd "$work/java" && clean XDG_CACHE_HOME="$work/java/cache" java -cp "classes:$(cat classpath)" WordCount \
    --inputFile="$text" --output=counts --runner=PharosRunner)
  check java '[A-Za-z]+'
}

# An empty module with the SDK's own word count, which needs nothing but a blank import. It has a module cache of its own, as
# the machine's may have this version of an earlier day; -trimpath lets the compiler's cache count nevertheless,
# with what scripts/dist.sh has compiled.
go_module() {
  local beam=${BEAM_GO:-v2.77.0}
  mkdir "$work/go"
  printf 'package main\n\nimport _ "github.com/pharos-beam/pharos/sdks/go/pharos"\n' >"$work/go/runner.go"
  (
    cd "$work/go"
    export GOPROXY="file://$root/dist/go,file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)"
    export GOMODCACHE=$work/modules GOFLAGS='-mod=mod -modcacherw -trimpath' CGO_ENABLED=0 GONOSUMDB=github.com/pharos-beam/*
    go mod init check
    go get "github.com/apache/beam/sdks/v2@$beam" "github.com/pharos-beam/pharos/sdks/go@v$version"
    cp "$(go list -m -f '{{.Dir}}' github.com/apache/beam/sdks/v2)/go/examples/wordcount/wordcount.go" .
    chmod u+w wordcount.go
    go build -o check .
    clean ./check --input "$text" --output counts --runner=pharos
  )
  check go "[a-zA-Z]+('[a-z])?"
}

# An empty Node project. The text is in the SDK's own word count, which writes what it finds to the console.
typescript() {
  local beam=${BEAM_TYPESCRIPT:-2.49.0} example platform
  platform=$(node -p 'process.platform + "-" + process.arch')
  example=node_modules/apache-beam/dist/src/apache_beam/examples/wordcount.js
  mkdir "$work/typescript"
  (
    cd "$work/typescript"
    npm init -y >init.log
    npm install --no-audit --no-fund --loglevel=error "apache-beam@$beam" \
      "$root/dist/typescript/pharos-beam-$version.tgz" "$root/dist/typescript/pharos-beam-$platform-$version.tgz"
    clean node -r pharos-beam/register $example --runner=pharos >console.log
    # It splits at what is no letter, so that each line has an empty word at its end.
    sed -nE "s/^\{ element: '([a-z]+)', count: ([0-9]+) \}$/\1: \2/p" console.log >counts
    grep -E '^ +"[^"]+",?$' $example | tr '[:upper:]' '[:lower:]' >text
    clean npx --no-install pharos version
  )
  check typescript '[a-z]+' "$work/typescript/text"
}

version=$(sed -n "s/^VERSION = '\(.*\)'$/\1/p" sdks/python/pharos_beam/version.py)
for sdk in ${*:-python java go typescript}; do
  echo "== release-check: $sdk"
  [ "$sdk" = go ] && sdk=go_module # go is a program here
  "$sdk"
done
