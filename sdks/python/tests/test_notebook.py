"""Notebooks, run by nbconvert in a kernel of this interpreter."""
import json
import os
import subprocess
import sys

import pytest

from pharos_beam import binary

for module in ('nbconvert', 'ipykernel'):
    pytest.importorskip(module)
try:
    binary.find()
except FileNotFoundError as e:
    pytest.skip(str(e), allow_module_level=True)


def execute(tmp_path, *cells):
    """Runs the cells and returns all that the notebook shows then, as HTML."""
    notebook = {
        'cells': [{
            'cell_type': 'code', 'id': f'c{n}', 'execution_count': None, 'metadata': {}, 'outputs': [], 'source': source
        } for n, source in enumerate(cells)],
        'metadata': {'kernelspec': {'name': 'test', 'display_name': 'test', 'language': 'python'}},
        'nbformat': 4,
        'nbformat_minor': 5,
    }
    (tmp_path / 'it.ipynb').write_text(json.dumps(notebook))
    kernel = tmp_path / 'data' / 'kernels' / 'test'
    kernel.mkdir(parents=True)
    (kernel / 'kernel.json').write_text(json.dumps({
        'argv': [sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}'],
        'display_name': 'test', 'language': 'python'}))
    done = subprocess.run(
        [sys.executable, '-m', 'nbconvert', '--to', 'html', '--execute', '--stdout', 'it.ipynb'], cwd=tmp_path,
        env=dict(os.environ, JUPYTER_PATH=str(tmp_path / 'data')), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


PREPARE = '''
import apache_beam as beam
from pharos_beam import PharosRunner
'''


def test_graph_and_result(tmp_path):
    page = execute(
        tmp_path, PREPARE, '''
with beam.Pipeline(PharosRunner()) as p:
    p | 'Numbers' >> beam.Create([1, 2]) | 'Square' >> beam.Map(lambda x: x * x) | beam.Map(print)
''')
    for name in ('Numbers', 'Square'):  # Beam puts the cell's number before it
        assert page.count(f': {name}</title>') == 1
    assert page.count('<progress max="1" value="1.00"></progress>') >= 1
    assert ': <b>DONE</b>' in page and ': <b>RUNNING</b>' not in page  # one table, of the end


def test_interactive_beam_shows_a_collection(tmp_path):
    page = execute(
        tmp_path, PREPARE + '''
from apache_beam.runners.interactive import interactive_beam as ib
from apache_beam.runners.interactive.interactive_runner import InteractiveRunner

p = beam.Pipeline(InteractiveRunner(PharosRunner()))
words = p | beam.Create(['tobeornot', 'shown']) | beam.Map(str.upper)
''', 'print(ib.collect(words).to_dict())', 'ib.show(words)')
    assert 'TOBEORNOT' in page and 'SHOWN' in page
