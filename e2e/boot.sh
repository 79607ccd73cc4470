#!/bin/sh
# A boot program in its root file system: boot.sh ROOT [HOST:/INSIDE...] -- FLAGS...
# Mounts are seen by the worker only and go with it; so does what it writes to its folder for temporary files.
set -eu
if [ -z "${E2E_UNSHARED:-}" ]; then E2E_UNSHARED=1 exec unshare --mount /bin/sh "$0" "$@"; fi
root=$1
shift
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root/dev" "$root/proc" "$root/mnt" "$root/out"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
while [ "$1" != -- ]; do
  mkdir -p "$root${1#*:}"
  mount --bind "${1%%:*}" "$root${1#*:}"
  shift
done
shift
# Variables that name files of this machine mean nothing there.
for name in $(env | sed -n 's/^\([A-Za-z0-9_]*\)=\/.*/\1/p'); do [ "$name" = PATH ] || unset "$name"; done
chroot=$(command -v chroot)
export PATH=/usr/local/bin:/usr/bin:/bin LD_LIBRARY_PATH=/usr/local/lib
cd "$root"
exec "$chroot" "$root" /opt/apache/beam/boot "$@"
