#!/bin/sh
# A Java SDK worker as a plain process: what the boot program of Beam's container does, for a PROCESS environment.
#
#   pharos serve --env java=process:conformance/xlang/java-worker.sh
#
# Takes the runner's --id, --control_endpoint and --logging_endpoint, and gives them to the harness as its environment.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for arg in "$@"; do
  case $arg in
    --id=*) HARNESS_ID=${arg#*=} ;;
    --control_endpoint=*) CONTROL_API_SERVICE_DESCRIPTOR="url: \"${arg#*=}\"" ;;
    --logging_endpoint=*) LOGGING_API_SERVICE_DESCRIPTOR="url: \"${arg#*=}\"" ;;
  esac
done
export HARNESS_ID CONTROL_API_SERVICE_DESCRIPTOR LOGGING_API_SERVICE_DESCRIPTOR
export PIPELINE_OPTIONS="${PIPELINE_OPTIONS:-{\}}"
classpath=$(cat "$here/../java/target/classpath-portable")
# Like Beam's container: an agent that measures objects, and old TLS versions where nothing newer is spoken.
jamm=$(printf '%s\n' "$classpath" | tr ':' '\n' | grep '/jamm-[^/]*\.jar$')
exec java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -javaagent:"$jamm" \
  -Djava.security.properties="$here/../java/worker.security" -cp "$classpath" org.apache.beam.fn.harness.FnHarness
