#!/bin/bash
# What the tests with containers need: a Docker engine, and the root file systems of worker images (.cache/docker/root):
# Beam's own boot programs, from its Go module, with this machine's Python, its Java and the SDKs that are installed already.
# No registry is asked. Does nothing where that is there already. Arguments: which of go, python, java (default: all).
set -eu
cd "$(dirname "$0")/.."
cache=${PHAROS_CACHE:-$PWD/.cache}
top=$cache/docker
version=$(go list -m -f '{{.Version}}' github.com/apache/beam/sdks/v2)

if ! command -v dockerd >/dev/null; then
  command -v apt-get >/dev/null || { echo "setup-docker: dockerd is not installed" >&2; exit 1; }
  echo "setup-docker: installing Docker" >&2
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends docker.io; } >&2
fi

# done_already NAME WANT: whether the root file system NAME is what WANT describes.
done_already() { [ "$(cat "$top/$1.stamp" 2>/dev/null)" = "$2" ]; }

# begin NAME: an empty root file system with the boot program of NAME's SDK.
begin() {
  echo "setup-docker: root file system of $1" >&2
  root=$top/root/$1
  rm -rf "$top/$1.stamp" "$root"
  mkdir -p "$root"/{tmp,etc,opt/apache/beam,usr/local/bin,bin,lib64} "$top/bin/$1"
  chmod 1777 "$root/tmp"
  GOFLAGS= CGO_ENABLED=0 GOBIN=$top/bin/$1 go install -ldflags='-s -w' "github.com/apache/beam/sdks/v2/$1/container@$version"
  cp "$top/bin/$1/container" "$root/opt/apache/beam/boot"
  printf 'root:x:0:0:root:/tmp:/bin/sh\n' >"$root/etc/passwd"
}

# libraries FILE...: copies the shared libraries that the files need, to where they are on this machine.
libraries() {
  { ldd "$@" 2>/dev/null || true; } | awk '$2 == "=>" && $3 ~ /^\// {print $3} $1 ~ /^\/.*ld-linux/ {print $1}' | sort -u |
    while read -r lib; do
      case $lib in "$root"/*) continue ;; esac
      [ -e "$root$lib" ] || install -D "$(readlink -f "$lib")" "$root$lib"
    done
}

# shell: what pip and the boot programs run beside their own language.
shell() {
  cp /bin/sh /bin/rm /bin/uname "$root/bin/"
  libraries /bin/sh /bin/rm /bin/uname
}

go_root() {
  local want="go $version 1"
  done_already go "$want" && return
  begin go
  printf '%s\n' "$want" >"$top/go.stamp"
}

# The standard library without its tests and windows, and of the virtual environment what a worker imports.
python_root() {
  scripts/setup-python.sh
  local venv=$cache/venv
  local want="python $version 1 $(cat "$venv/.installed")"
  done_already python "$want" && return
  begin python
  local base lib
  base=$("$venv/bin/python" -c 'import sys; print(sys.base_prefix)')
  lib=$("$venv/bin/python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
  mkdir -p "$root/usr/local/lib/$lib/site-packages"
  cp "$base/bin/$lib" "$root/usr/local/bin/"
  ln -s "$lib" "$root/usr/local/bin/python3"
  ln -s "$lib" "$root/usr/local/bin/python"
  cp -P "$base/lib/lib$lib"*.so* "$root/usr/local/lib/" 2>/dev/null || true # none where Python is linked statically
  tar -C "$base/lib/$lib" --exclude=./test --exclude=./site-packages --exclude='./config-*' --exclude=./idlelib --exclude=./tkinter \
    --exclude=./lib2to3 --exclude=./turtledemo -cf - . | tar -C "$root/usr/local/lib/$lib" -xf -
  tar -C "$venv/lib/$lib/site-packages" --exclude=./apache_beam/examples --exclude='*/tests' --exclude='*_test.py' \
    --exclude='./scipy*' --exclude='./sklearn*' --exclude='./scikit_learn*' --exclude='./pandas*' --exclude='./pyarrow*' --exclude='./PIL' \
    --exclude='./pillow*' --exclude='./hypothesis*' --exclude='./_pytest' --exclude='./pytest*' --exclude='./pygments' -cf - . |
    tar -C "$root/usr/local/lib/$lib/site-packages" -xf -
  libraries "$root/usr/local/bin/$lib" $(find "$root/usr/local/lib" -name '*.so*' -type f)
  shell
  printf '%s\n' "$want" >"$top/python.stamp"
}

# A Java of the modules that a worker needs, and the harness as the boot program looks for it: one jar that names the others.
java_root() {
  scripts/setup-java.sh
  local want="java $version 1 $(cksum <conformance/java/target/classpath-portable) $(java -version 2>&1 | head -1)"
  done_already java "$want" && return
  begin java
  local jars=$root/opt/apache/beam/jars jar
  jlink --strip-debug --no-man-pages --no-header-files --compress=1 --output "$root/usr/local/java" \
    --add-modules java.se,jdk.unsupported,jdk.management,jdk.zipfs,jdk.crypto.ec
  ln -s ../java/bin/java "$root/usr/local/bin/java"
  libraries "$root/usr/local/java/bin/java" $(find "$root/usr/local/java/lib" -name '*.so')
  mkdir -p "$jars/lib"
  tr ':' '\n' <conformance/java/target/classpath-portable | grep '\.jar$' | grep -v -e '-tests\.jar$' -e junit -e hamcrest -e mockito |
    while read -r jar; do cp "$jar" "$jars/lib/"; done
  (
    cd "$jars"
    { printf 'Class-Path:'; for jar in lib/*.jar; do printf ' %s\n ' "$jar"; done; printf '\n'; } >manifest
    jar cfm beam-sdks-java-harness.jar manifest
    rm manifest
    mv lib/jamm-*.jar jamm.jar
  )
  shell
  printf '%s\n' "$want" >"$top/java.stamp"
}

for sdk in ${*:-go python java}; do "${sdk}_root"; done
