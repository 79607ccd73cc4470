#!/bin/sh
# Installs Beam's TypeScript SDK from npm into .cache/node and compiles the kit's own pipelines there, with the SDK's
# closure transformer. Does nothing where that is up to date.
set -eu
cd "$(dirname "$0")/../conformance/typescript"
home=${PHAROS_CACHE:-$PWD/../../.cache}/node
want=$(cat package.json package-lock.json tsconfig.json src/*.ts | cksum)
if [ -e "$home/.installed" ] && [ "$(cat "$home/.installed")" = "$want" ]; then exit 0; fi
for tool in node npm; do
  command -v "$tool" >/dev/null || { echo "setup-node: $tool is not installed (Node 18 or newer is needed)" >&2; exit 1; }
done
echo "setup-node: Beam's TypeScript SDK from npm" >&2
rm -rf "$home"
mkdir -p "$home"
cp -r package.json package-lock.json tsconfig.json src "$home/"
cd "$home"
npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >&2
npx --no-install ttsc -p . >&2
printf '%s\n' "$want" >.installed
