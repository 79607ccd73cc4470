#!/bin/bash
# Jobs of three SDKs on workers that are hard to keep: in containers of a Docker engine that the tests start, behind Beam's boot
# programs, on worker pools that come and go. Arguments are those of `go test` (-run TestDockerGo).
set -eu
cd "$(dirname "$0")/.."
export PHAROS_CACHE=${PHAROS_CACHE:-$PWD/.cache}
scripts/setup-docker.sh
go build -o bin/pharos ./cmd/pharos
(cd crash/gopipeline && CGO_ENABLED=0 go build -o "$PHAROS_CACHE/bin/e2e-go" .)
classpath=$(cat conformance/java/target/classpath-portable)
classes=$PHAROS_CACHE/docker/classes
if [ ! "$classes/Job.class" -nt e2e/java/Job.java ]; then
  mkdir -p "$classes"
  javac -proc:none -d "$classes" -cp "$classpath" e2e/java/Job.java
fi
export PHAROS_TEST_DOCKER_ROOTS=$PHAROS_CACHE/docker/root PHAROS_BINARY=$PWD/bin/pharos
export PHAROS_TEST_PYTHON=$PHAROS_CACHE/venv/bin/python PHAROS_TEST_GO_JOB=$PHAROS_CACHE/bin/e2e-go
export PHAROS_TEST_JAVA_CLASSPATH=$classes:$PWD/sdks/java/target/classes:$classpath
exec go test -count 1 -timeout 30m -v "$@" ./e2e
