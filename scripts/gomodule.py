#!/usr/bin/env python3
"""Makes of a folder with a go.mod what a Go module proxy serves of it.

  gomodule.py FOLDER VERSION PROXY      writes PROXY/MODULE/@v/VERSION.{info,mod,zip} and the list

Takes the files that git knows, without those of modules inside (https://go.dev/ref/mod#zip-files).
A `replace` of the go.mod stays: it counts in the main module only.
"""
import json
import os
import re
import subprocess
import sys
import zipfile

TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can name
LIMIT = 500 << 20  # bytes, of a module's files


def module_files(folder):
    """Names of the module's files, in the folder."""
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=folder, check=True, capture_output=True, text=True).stdout
    names = [n for n in listed.split('\0') if n and os.path.isfile(os.path.join(folder, n))]
    inside = [os.path.dirname(n) + '/' for n in names if os.path.basename(n) == 'go.mod' and os.path.dirname(n)]
    return [n for n in names if not n.startswith(tuple(inside))]


def write_zip(path, prefix, folder, names):
    total = 0
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        for name in sorted(names):
            with open(os.path.join(folder, name), 'rb') as f:
                data = f.read()
            total += len(data)
            info = zipfile.ZipInfo(f'{prefix}/{name}', TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(info, data)
    if total > LIMIT:
        sys.exit(f'gomodule: {folder} has {total} bytes; a module may have {LIMIT}')


def main(folder, version, proxy):
    with open(os.path.join(folder, 'go.mod'), encoding='utf-8') as f:
        text = f.read()
    module = re.search(r'^module (\S+)$', text, re.M)[1]
    where = os.path.join(proxy, module, '@v')  # no capital letters in it, which a proxy would escape
    os.makedirs(where, exist_ok=True)
    names = module_files(folder)
    write_zip(os.path.join(where, f'{version}.zip'), f'{module}@{version}', folder, names)
    with open(os.path.join(where, f'{version}.mod'), 'w', encoding='utf-8') as f:
        f.write(text)
    with open(os.path.join(where, f'{version}.info'), 'w', encoding='utf-8') as f:
        json.dump({'Version': version, 'Time': '2000-01-01T00:00:00Z'}, f)
    with open(os.path.join(where, 'list'), 'w', encoding='utf-8') as f:
        f.write(version + '\n')
    print(f'{module} {version}: {len(names)} files')


if __name__ == '__main__':
    main(*sys.argv[1:])
