#!/bin/sh
# Fetches Beam's Java SDK and its published tests with Maven and compiles our Java runner (sdks/java) and the Java kit
# (target/ in both). Does nothing, and needs no network, where that is up to date. Argument: the Maven profile, "portable" or "direct".
set -eu
cd "$(dirname "$0")/../conformance/java"
profile=${1:-portable}
classpath=target/classpath-$profile
sources="pom.xml reactor/pom.xml src ../../sdks/java/pom.xml ../../sdks/java/src/main"
if [ -s "$classpath" ] && [ -z "$(find $sources -newer "$classpath" -type f -print | head -1)" ]; then exit 0; fi
for tool in java mvn; do
  command -v "$tool" >/dev/null || { echo "setup-java: $tool is not installed" >&2; exit 1; }
done
echo "setup-java: Beam's Java SDK from Maven" >&2
mkdir -p target
mvn -q -B ${MAVEN_ARGS:-} -f reactor -P"$profile" compile dependency:build-classpath \
  -Dmdep.outputFile="$classpath.new" -Dmdep.regenerateFile=true >&2
mv "$classpath.new" "$classpath"
