"""Parts of the runner that need no server of ours."""
import ast
import os
import stat
from concurrent import futures
from pathlib import Path

import apache_beam as beam
import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.portability.api import beam_job_api_pb2_grpc

import pharos_beam
from pharos_beam import binary
from pharos_beam import client
from pharos_beam import failure
from pharos_beam import graph
from pharos_beam import loopback
from pharos_beam import progress
from pharos_beam import result
from pharos_beam import version


@pytest.mark.parametrize(
    'server, own, fits', [
        ('1.2.3', '1.0.0', True),
        ('2.0.0', '1.9.0', False),
        ('0.1.7', '0.1.0', True),
        ('v0.1.0', '0.1.0', True),
        ('0.2.0', '0.1.0', False),
        ('1.0.0', '0.1.0', False),
        ('dev-0123456789ab', '0.1.0', True),
        ('v0.0.0-20261127010203-0123456789ab+dirty', '0.1.0', True),
        ('', '0.1.0', True),
    ])
def test_versions_that_fit(server, own, fits):
    assert version.fits(server, own) == fits


class Jobs(beam_job_api_pb2_grpc.JobServiceServicer):
    """A server that only says who it is, and that its jobs are in a state that nobody knows."""

    def __init__(self, headers):
        self.headers = headers

    def DescribePipelineOptions(self, request, context):  # pylint: disable=invalid-name
        context.send_initial_metadata(self.headers)
        return beam_job_api_pb2.DescribePipelineOptionsResponse()

    def GetMessageStream(self, request, context):  # pylint: disable=invalid-name
        event = beam_job_api_pb2.JobStateEvent(state=99)
        yield beam_job_api_pb2.JobMessagesResponse(state_response=event)


@pytest.fixture
def serve():
    servers = []

    def start(*headers):
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
        servers.append(server)
        beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(Jobs(headers), server)
        port = server.add_insecure_port('localhost:0')
        server.start()
        return f'localhost:{port}'

    yield start
    for server in servers:
        server.stop(0)


def test_server_of_another_version(serve):
    endpoint = serve(('pharos-version', '99.0.0'))
    with pytest.raises(pharos_beam.PharosError, match=f'is Pharos 99.0.0, and this is pharos-beam {version.VERSION}'):
        beam.Pipeline(
            options=PipelineOptions(['--runner=pharos_beam.PharosRunner', f'--pharos_endpoint={endpoint}'])).run()


def test_server_that_is_not_pharos(serve, caplog):
    service = client.Service(serve(), False, 60)
    assert service.http is None and 'does not say that it is Pharos' in caplog.text
    service.close()


def test_job_service_that_does_not_know_the_call(serve):
    service = client.Service(serve(('pharos-version', version.VERSION), ('pharos-http', 'http://x')), False, 60)
    assert service.http == 'http://x'
    with pytest.raises(pharos_beam.PharosError, match='does not do that'):
        service.call('drain the job', service.stub.Drain, beam_job_api_pb2.DrainJobRequest())
    service.close()


def test_a_job_that_cannot_be_followed_is_lost_not_done(serve):
    service = client.Service(serve(), True, 60)
    job = result.PharosResult('job-1', service, None, [service.close], progress.Progress(), {})
    with pytest.raises(pharos_beam.PharosError, match='cannot follow job job-1 any more: ValueError'):
        job.wait_until_finish()


def test_workers_are_at_one_address():
    workers = loopback.Workers(PipelineOptions())
    try:
        assert workers.endpoint.startswith('127.0.0.1:')
        with grpc.insecure_channel(workers.endpoint) as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
    finally:
        workers.close()


TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    g()\n'


@pytest.mark.parametrize(
    'text, kind', [
        (TRACEBACK + "ValueError: boom [while running 'X']\n\n(the bundle failed in 4 attempts)", ValueError),
        (TRACEBACK + 'KeyError: 1\n\nDuring handling of the above:\n\n' + TRACEBACK + 'OSError: 2', OSError),
        (TRACEBACK + 'grpc.RpcError', grpc.RpcError),
        (TRACEBACK + 'not.a.known.Type: boom', RuntimeError),
        (TRACEBACK + 'print: boom', RuntimeError),
        (TRACEBACK + 'SystemExit: 1', RuntimeError),
        (TRACEBACK + 'UnicodeDecodeError: cannot be made of a text', RuntimeError),
        ('the workers did not start', RuntimeError),
    ])
def test_type_of_a_failure_that_is_a_text(text, kind):
    made = failure.job_failed(text)
    assert isinstance(made, kind) and isinstance(made, pharos_beam.JobFailedError)
    assert str(made) == made.message == text


def test_caught_exceptions_are_found_by_text_and_bounded():
    caught = failure.Caught()
    first = ValueError('number 0')
    caught.add(first)
    assert caught.find('...\nValueError: number 0\n') is first
    assert caught.find('ValueError: another') is None
    for n in range(1, caught.LIMIT + 1):
        caught.add(ValueError(f'number {n}'))
    assert caught.find('ValueError: number 0 and') is None


def test_binary_is_looked_for_in_order(tmp_path, monkeypatch):
    named = tmp_path / 'pharos'
    named.write_text('')
    monkeypatch.setenv(binary.VARIABLE, str(named))
    with pytest.raises(FileNotFoundError, match='PHAROS_BINARY'):
        binary.find()
    named.chmod(named.stat().st_mode | stat.S_IXUSR)
    assert binary.find() == str(named)
    monkeypatch.delenv(binary.VARIABLE)
    if binary.packaged() is None:
        monkeypatch.setenv('PATH', os.pathsep.join(['/nowhere', str(tmp_path)]))
        assert binary.find() == str(named)
        monkeypatch.setenv('PATH', '/nowhere')
        with pytest.raises(FileNotFoundError, match='no pharos program'):
            binary.find()


def test_graph():
    p = beam.Pipeline()
    left, right = p | 'Left' >> beam.Create([1]), p | 'Right' >> beam.Create([2])
    both = (left, right) | 'Both' >> beam.Flatten()
    both | '<One> & a name that is much too long for a box' >> beam.Map(print)  # pylint: disable=expression-not-assigned
    proto = p.to_runner_api()
    placed = {b.name: (b.row, b.column) for b in graph.boxes(proto).values()}
    assert placed == {
        'Left': (0, 0), 'Right': (0, 1), 'Both': (1, 0), '<One> & a name that is much too long for a box': (2, 0)}
    picture = graph.svg(proto)
    assert picture.count('<rect') == 4 and picture.count('<path') == 3
    assert '<title>&lt;One&gt; &amp; a name that is much too long for a box</title>' in picture


def test_progress_line():
    stages = [
        {'name': 'read', 'state': 'done', 'done': 1, 'input_elements': 1000},
        {'name': 'count', 'state': 'running', 'done': 0.5, 'input_elements': 500},
    ]
    assert progress.line({'name': 'words', 'stages': stages}, 75) == (
        'words [###############.....] 1/2 stages, 1,500 elements, 1:15 count')
    assert progress.line({'name': 'none', 'stages': []}, 0) == 'none [....................] 0/0 stages, 0 elements, 0:00'


def test_bar_leaves_nothing(monkeypatch):
    import io

    stages = [{'name': 'read', 'state': 'running', 'done': 0.1, 'input_elements': 1}]
    monkeypatch.setattr(progress, 'fetch', lambda http, job_id: {'name': 'words', 'stages': stages})
    out = io.StringIO()
    bar = progress.Bar(out)
    bar.update('http://x', 'job')
    bar.close('http://x', 'job', 'DONE')
    assert 'words [##' in out.getvalue() and out.getvalue().endswith('\r\x1b[K')


def test_public_names_are_there_and_typed():
    for name in pharos_beam.__all__:
        assert getattr(pharos_beam, name) is not None
    source = ast.parse(Path(pharos_beam.__file__).read_text(encoding='utf-8'))
    typed = [node for node in ast.walk(source) if isinstance(node, ast.If)][0].body
    assert {f'{n.names[0].asname}' for n in typed} == set(pharos_beam._HOME)
    assert {n.names[0].asname: n.module for n in typed} == pharos_beam._HOME
    assert Path(pharos_beam.__file__).with_name('py.typed').exists()
