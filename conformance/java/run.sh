#!/bin/sh
# conformance/java/run.sh HOST:PORT OUT.json [--only FILE] [--timeout SECONDS] [--workers N] [--runner NAME]
#
# Beam's Java ValidatesRunner tests (those published in the tests jars of its core and of its Avro extension) against a
# job service; "direct" as the endpoint runs Beam's in-process DirectRunner, "list" prints the tests and their categories.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
profile=portable
[ "$1" != direct ] || profile=direct
"$here/../../scripts/setup-java.sh" "$profile"
"$here/../../scripts/setup-xlang.sh"
beam=$(sed -n 's:.*<beam.version>\(.*\)</beam.version>.*:\1:p' "$here/pom.xml")
cache=${PHAROS_CACHE:-$here/../../.cache}
export PYTHONPATH="$cache/xlang"
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dkit.beam="$beam" \
  -Djava.util.logging.config.file="$here/logging.properties" \
  -Dkit.limits="$here/limits.tsv" -Dkit.worker="$here/../xlang/java-worker.sh" \
  -Dkit.python="$cache/venv/bin/python" -Dkit.expansion="$here/../xlang_expansion.py" \
  -cp "$here/target/classes:$(cat "$here/target/classpath-$profile")" pharos.conformance.Main "$@"
