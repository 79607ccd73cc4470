#!/bin/bash
# Everything continuous integration checks, from a clean clone: 40 minutes on 2 cores at most. Each phase runs even if
# one before it failed; the closing table says what took how long. Phases can be named: scripts/ci.sh lint unit
set -u
cd "$(dirname "$0")/.."
export PHAROS_CACHE=${PHAROS_CACHE:-$PWD/.cache}

# The three targets that read what comes from outside get a minute each, the others a few seconds.
minute='^Fuzz(Scan|Validate|Data)$'
others='^Fuzz(ScanGenerated|SkipGenerated|Skip|Add|Decode|DecodeInterval|Build|Open|Parse|CorruptState|OrderedListAppend)$'

setup() {
  scripts/setup-python.sh & local python=$!
  scripts/setup-java.sh & local java=$!
  scripts/setup-node.sh & local node=$!
  scripts/setup-pyflink.sh & local pyflink=$!
  go build ./... && go build -o bin/pharos ./cmd/pharos
  local status=$?
  wait $python || status=1
  wait $java || status=1
  wait $node || status=1
  wait $pyflink || status=1
  return $status
}
lint() { scripts/lint.sh; }
unit() { go test -race ./...; }
sim() { make sim; }
fuzz() { FUZZTIME=60s scripts/fuzz.sh "$minute" && FUZZTIME=5s scripts/fuzz.sh "$others"; }
demo() { scripts/demo.sh; }
crash() { scripts/setup-crash.sh && go run ./crash --kills 8 --ci; }
# Workers in containers of a real Docker engine, behind the SDKs' boot programs, and in pools.
docker() { scripts/docker-test.sh; }
# Data larger than memory, a slice of it: results, and memory at the peak.
memory() { go run ./bench/large --prism "" --write "" --check --memory 128 --scale 0.3 --loads hot,sidescan,sidelookup; }
upgrade() { scripts/upgrade-drill.sh; }
snapshot() { go run ./crash --snapshot --ci; }
stream() { scripts/stream.sh python 12 && scripts/stream.sh go 12; }
kit() { go run ./conformance/run --serve bin/pharos --retries 2 --kit "$@"; }
# beside runs two phases side by side, each of which keeps about one core busy. What the second prints comes last.
beside() {
  local log status=0
  log=$(mktemp)
  "$2" >"$log" 2>&1 & local second=$!
  "$1" || status=1
  wait $second || status=1
  cat "$log"
  rm -f "$log"
  return $status
}
python() { kit python; }
# Through our runner, which is the SDK's portable one and a server.
typescript() { kit typescript --runner pharos; }
python-and-typescript() { beside python typescript; }
java() { kit java --slice ci; }
# The runner in sdks/java, its tests against a real server included.
java-runner() { PHAROS_BINARY=$PWD/bin/pharos mvn -q -B ${MAVEN_ARGS:-} -f sdks/java test; }
python-runner() {
  PYTHONPATH=$PWD/sdks/python PHAROS_BINARY=$PWD/bin/pharos "$PHAROS_CACHE/venv/bin/python" -m pytest -q sdks/python/tests
}
go-runner() { (cd sdks/go && go vet ./... && go test ./...); }
typescript-runner() {
  PHAROS_BINARY=$PWD/bin/pharos NODE_PATH=$PHAROS_CACHE/node/node_modules node --test sdks/typescript/test/
}
short-runners() { python-runner && go-runner && typescript-runner; }
runners() { beside short-runners java-runner; }
# Interactive Beam and Jupyter, with a runner in the notebook.
notebook() { scripts/notebook-test.sh; }
xlang-and-notebook() { beside xlang notebook; }
# The oldest version of the SDK that is supported; all else here runs with the newest. `make sdk-versions` does the others.
oldest-python() { PYTHON_VERSIONS=2.60.0 scripts/sdk-versions.sh python; }
# Installed as users do, on the machine's own platform.
release() { PLATFORMS="$(go env GOOS)/$(go env GOARCH)" scripts/dist.sh && scripts/release-check.sh; }
release-and-oldest() { beside release oldest-python; }
# Compiling all of Beam's Go tests takes too long here: this slice is the packages that ask most of a runner.
go-slice() {
  scripts/setup-go.sh test/integration/primitives test/regression pkg/beam &&
    kit go --slice ci
}
# Each way in which Java and Python meet; `make conformance-xlang` runs all cases.
xlang() {
  kit xlang --filter '^process::|^external::(java_state|python_state|fixed_windows|session_windows|side_input|streaming|rows_|values_of|tfrecord|counter)'
}

phases=(${*:-setup lint unit sim fuzz demo stream memory crash upgrade snapshot docker python-and-typescript runners java go-slice xlang-and-notebook release-and-oldest})
summary=""
failed=0
began=$SECONDS
for phase in "${phases[@]}"; do
  echo
  echo "==== $phase"
  start=$SECONDS
  if "$phase"; then result=ok; else result=FAILED; failed=1; fi
  summary+=$(printf '%-12s %-7s %5ds' "$phase" "$result" $((SECONDS - start)))$'\n'
  if [ "$phase" = setup ] && [ $failed = 1 ]; then break; fi
done
echo
echo "==== time of each phase"
printf '%s%-12s %-7s %5ds\n' "$summary" total "" $((SECONDS - began))
exit $failed
