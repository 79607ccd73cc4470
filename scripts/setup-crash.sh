#!/bin/sh
# Builds what the crash suite needs beside Python: the runner, and the programs of its jobs in Go and Java.
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
scripts/setup-python.sh
scripts/setup-java.sh
go build -o bin/pharos ./cmd/pharos
(cd crash/gopipeline && go build -o "$cache/bin/crash-batch" .)
classes=$cache/crash-java
classpath=conformance/java/target/classpath-portable
if [ ! "$classes/CrashStream.class" -nt crash/java/CrashStream.java ] || [ ! "$classes/CrashStream.class" -nt "$classpath" ]; then
  mkdir -p "$classes"
  javac -proc:none -d "$classes" -cp "$(cat "$classpath")" crash/java/CrashStream.java
fi
