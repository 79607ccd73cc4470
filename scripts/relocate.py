#!/usr/bin/env python3
"""Makes of a jar one for versions of Beam whose classes have gRPC under another name.

    scripts/relocate.py IN.jar OUT.jar v1p69p0 v1p60p1

Beam has its own copy of gRPC in a package that is named after gRPC's version, and that name is in the signatures of
everything that Beam generates. The names have the same length, so classes stay well formed.
"""
import sys
import zipfile


def relocate(source, target, old, new):
    if len(old) != len(new):
        raise SystemExit(f'relocate: {old} and {new} differ in length')
    changed = 0
    with zipfile.ZipFile(source) as jar, zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as out:
        for entry in jar.infolist():
            data = jar.read(entry)
            if entry.filename.endswith('.class'):
                changed += old.encode() in data
                data = data.replace(b'vendor/grpc/' + old.encode(), b'vendor/grpc/' + new.encode())
            out.writestr(entry, data, zipfile.ZIP_DEFLATED)
    if not changed:
        raise SystemExit(f'relocate: {source} has nothing of {old}')


if __name__ == '__main__':
    relocate(*sys.argv[1:])
