#!/usr/bin/env python3
"""Makes a table of what scripts/sdk-versions.sh has found: a row for each case, a column for each version of an SDK.

    scripts/versions-table.py RESULTS [DOCUMENT]

RESULTS has a file SDK-VERSION.tsv for each version, with a line `case<TAB>ok` or `case<TAB>error` for each case; what has no
tab is of something else. Of a DOCUMENT the part between the two marks is replaced; without one the table is printed.
"""
import pathlib
import sys

BEGIN, END = '<!-- begin: scripts/sdk-versions.sh --write -->\n', '<!-- end -->\n'
SDKS = {'python': 'Python', 'java': 'Java', 'go': 'Go', 'typescript': 'TypeScript'}


def outcomes(results):
    """By SDK and version: a dict of cases."""
    found = {}
    for path in results.glob('*.tsv'):
        sdk, _, version = path.stem.partition('-')
        lines = (line.split('\t', 1) for line in path.read_text(encoding='utf-8').splitlines())
        found.setdefault(sdk, {})[version] = {line[0]: line[1] for line in lines if len(line) == 2}
    return found


def newest_first(version):
    return [-int(part) for part in version.partition('-')[0].split('.')]


def table(name, versions):
    columns = sorted(versions, key=newest_first)
    cases = list(dict.fromkeys(case for v in columns for case in versions[v]))
    yield f'| {name} | ' + ' | '.join(columns) + ' |\n'
    yield '|---|' + ':-:|' * len(columns) + '\n'
    for case in cases:
        cells = ('✓' if versions[v].get(case) == 'ok' else 'fails' if case in versions[v] else '' for v in columns)
        yield f'| {case.replace("_", " ")} | ' + ' | '.join(cells) + ' |\n'


def main(results, document=None):
    found = outcomes(pathlib.Path(results))
    text = '\n'.join(''.join(table(name, found[sdk])) for sdk, name in SDKS.items() if sdk in found)
    if document is None:
        print(text)
        return
    path = pathlib.Path(document)
    before, _, rest = path.read_text(encoding='utf-8').partition(BEGIN)
    path.write_text(before + BEGIN + '\n' + text + '\n' + END + rest.partition(END)[2], encoding='utf-8')


if __name__ == '__main__':
    main(*sys.argv[1:])
