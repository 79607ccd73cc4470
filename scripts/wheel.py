#!/usr/bin/env python3
"""Makes of the wheel that any platform takes one for a platform, with the pharos program in it.

  wheel.py PURE.whl TAG PROGRAM DIR      TAG like py3-none-win_amd64; prints the path of the new wheel

A wheel is a zip file with a list of its own files and their hashes (PEP 427); the same input gives
the same bytes.
"""
import base64
import hashlib
import os
import sys
import zipfile

PACKAGE = 'pharos_beam'
TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can name


def record(name, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()
    return f'{name},sha256={digest},{len(data)}\n'


def describe(wheel_file, tag):
    """Returns the file WHEEL for that tag; compressed tag sets are written one a line."""
    python, abi, platforms = tag.split('-')
    kept = [l for l in wheel_file.splitlines() if l and not l.startswith(('Tag:', 'Root-Is-Purelib:'))]
    tags = [f'Tag: {python}-{abi}-{p}' for p in platforms.split('.')]
    return '\n'.join(kept + ['Root-Is-Purelib: false'] + tags) + '\n'


def read(pure):
    with zipfile.ZipFile(pure) as z:
        return {i.filename: z.read(i) for i in z.infolist() if not i.is_dir()}


def write(path, files, programs, records):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        listed = ''
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if name in programs else 0o100644) << 16
            z.writestr(info, data)
            listed += record(name, data)
        info = zipfile.ZipInfo(records, TIME)
        info.external_attr = 0o100644 << 16
        z.writestr(info, listed + f'{records},,\n')


def main(pure, tag, program, directory):
    files = read(pure)
    info = next(n.split('/')[0] for n in files if n.endswith('.dist-info/WHEEL'))
    del files[f'{info}/RECORD']
    files[f'{info}/WHEEL'] = describe(files[f'{info}/WHEEL'].decode(), tag).encode()
    inside = f'{PACKAGE}/bin/pharos' + ('.exe' if 'win' in tag.split('-')[2].split('_')[0] else '')
    with open(program, 'rb') as f:
        files[inside] = f.read()
    name = '-'.join(os.path.basename(pure).split('-')[:2])
    path = os.path.join(directory, f'{name}-{tag}.whl')
    write(path, files, {inside}, f'{info}/RECORD')
    print(path)


if __name__ == '__main__':
    main(*sys.argv[1:])
