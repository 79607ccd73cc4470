"""Pipelines through the runner and a server of the test's own, which $PHAROS_BINARY names."""
import logging
import os
import re
import signal
import subprocess
import sys
import threading

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState
from apache_beam.testing.test_pipeline import TestPipeline as BeamTestPipeline
from apache_beam.testing.util import assert_that
from apache_beam.testing.util import equal_to
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from conftest import wait_for

import pharos_beam
from pharos_beam import binary
from pharos_beam import client
from pharos_beam import options
from pharos_beam import server

try:
    binary.find()
except FileNotFoundError as e:
    pytest.skip(str(e), allow_module_level=True)


def arguments(*more):
    return PipelineOptions(['--runner=pharos_beam.PharosRunner', '--pharos_max_attempts=1', *more])


def endless(pipeline):
    return (
        pipeline | PeriodicImpulse(fire_interval=0.05)
        | beam.Map(lambda x: Metrics.counter('test', 'ticks').inc()))


def ended(pid):
    """Whether a process of somebody else's has ended."""
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii') as f:
            return f.read().rpartition(')')[2].split()[0] == 'Z'
    except FileNotFoundError:
        return True


def children(pid):
    """The processes that a process of somebody else's has started and that are its own still."""
    found = []
    for task in os.listdir(f'/proc/{pid}/task'):
        try:
            with open(f'/proc/{pid}/task/{task}/children', encoding='ascii') as f:
                found += map(int, f.read().split())
        except (FileNotFoundError, ProcessLookupError):
            pass  # a thread that has ended
    return found


def counter(result, name, committed=True):
    found = result.metrics().query(MetricsFilter().with_name(name))['counters']
    return sum((c.committed if committed else c.attempted) or 0 for c in found)


def test_word_count(tmp_path):
    with beam.Pipeline(options=arguments()) as p:
        lines = p | beam.Create(['to be or', 'not to be'])
        words = lines | beam.FlatMap(str.split) | beam.combiners.Count.PerElement()
        words | beam.MapTuple('{}: {}'.format) | beam.io.WriteToText(str(tmp_path / 'counts'))  # pylint: disable=unused-variable
    got = sorted(''.join(f.read_text() for f in tmp_path.iterdir()).splitlines())
    assert got == ['be: 2', 'not: 1', 'or: 1', 'to: 2']
    assert p.result.state == PipelineState.DONE
    assert p.result.job_page().startswith('http://')


def test_short_name_and_test_pipeline():
    assert pharos_beam.PharosRunner
    for name in ('pharos', 'PharosRunner'):
        with BeamTestPipeline(options=PipelineOptions([f'--runner={name}'])) as p:
            assert_that(p | beam.Create([1, 2]) | beam.Map(lambda x: x * x), equal_to([1, 4]))
    with pytest.raises(Exception, match='Failed assert'):
        with BeamTestPipeline(options=arguments()) as p:
            assert_that(p | beam.Create([1, 2]), equal_to([1, 3]))


class Strange(Exception):
    """Cannot be made of one text."""

    def __init__(self, a, b):
        super().__init__(f'{a}-{b}')
        self.a = a


@pytest.mark.parametrize('kind', [ValueError, KeyError, FileNotFoundError, Strange])
def test_failure_is_that_of_the_code(kind):

    def innermost(x):
        if kind is Strange:
            raise Strange('boom', x)
        if kind is FileNotFoundError:
            raise FileNotFoundError(2, 'boom', 'name')
        raise kind('boom')

    def outer(x):
        try:
            return [][x]
        except IndexError as e:
            return innermost(e)

    with pytest.raises(kind) as caught:
        with beam.Pipeline(options=arguments()) as p:
            p | beam.Create([1]) | 'ThisStep' >> beam.Map(outer)  # pylint: disable=expression-not-assigned
    failure = caught.value
    assert isinstance(failure, pharos_beam.JobFailedError)
    assert isinstance(failure.original, kind)
    assert 'boom' in str(failure) and 'ThisStep' in str(failure)
    assert 'Traceback' not in str(failure) and 'innermost' in failure.message
    assert [e.name for e in caught.traceback][-2:] == ['outer', 'innermost']
    assert isinstance(failure.__context__, IndexError)
    if kind is Strange:
        assert failure.a == 'boom'
    assert p.result.state == PipelineState.FAILED


def test_failure_without_utf_8():

    def fail(unused):
        raise FileNotFoundError(os.fsdecode(b'no \xff here'))

    with pytest.raises(FileNotFoundError) as caught:
        with beam.Pipeline(options=arguments()) as p:
            p | beam.Create([1]) | beam.Map(fail)  # pylint: disable=expression-not-assigned
    assert 'no \udcff here' in str(caught.value)
    assert r'no \udcff here' in caught.value.message
    assert [e.name for e in caught.traceback][-1] == 'fail'


class Unspeakable(Exception):
    """Has no text, and cannot be made again."""

    def __init__(self):
        super().__init__(1, 2)

    def __str__(self):
        raise SystemExit('no text')


@pytest.mark.parametrize('more', [[], ['--pharos_workers=1']])
def test_failure_without_a_text_is_a_failure(more):

    def fail(unused):
        raise Unspeakable

    p = beam.Pipeline(options=arguments(*more))
    p | beam.Create([1]) | 'ThisStep' >> beam.Map(fail)  # pylint: disable=expression-not-assigned
    result = p.run()
    with pytest.raises(pharos_beam.JobFailedError, match='ThisStep') as caught:
        result.wait_until_finish()
    assert 'Unspeakable' in caught.value.message
    assert result.state == PipelineState.FAILED
    assert result.metrics() is not None


def test_failure_in_another_process():

    def fail(x):
        raise ValueError(f'boom {x}')

    with pytest.raises(ValueError, match='in fail\n') as caught:
        with beam.Pipeline(options=arguments('--pharos_workers=1')) as p:
            p | beam.Create([1]) | beam.Map(fail)  # pylint: disable=expression-not-assigned
    assert caught.value.original is None


def test_worker_processes():

    def process_id(unused):
        import os  # pylint: disable=redefined-outer-name,reimported

        return os.getpid()

    def elsewhere(ids):
        assert ids and os.getpid() not in ids

    with beam.Pipeline(options=arguments('--pharos_workers=2')) as p:
        own = os.getpid()
        ids = p | beam.Create(range(3)) | beam.Map(process_id) | beam.Filter(lambda i: i == own)
        assert_that(ids, equal_to([]))


def test_worker_processes_may_fork():

    def handlers(unused):
        import os  # pylint: disable=redefined-outer-name,reimported

        return os.environ['GRPC_ENABLE_FORK_SUPPORT']

    with beam.Pipeline(options=arguments('--pharos_workers=1')) as p:
        assert_that(p | beam.Create([1]) | beam.Map(handlers), equal_to(['0']))


def test_two_pipelines_at_once_share_the_server():
    results = []
    barrier = threading.Barrier(3, timeout=180)

    def run():
        p = beam.Pipeline(options=arguments())
        endless(p)
        results.append(p.run())
        barrier.wait()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for t in threads:
        t.start()
    barrier.wait()
    assert len({r._service.endpoint for r in results}) == 1
    for r in results:
        r.cancel()
        assert r.wait_until_finish() == PipelineState.CANCELLED
    assert server.shared(PipelineOptions().view_as(options.PharosOptions)).endpoint == results[0]._service.endpoint


def test_drain_metrics_and_time_limit():
    p = beam.Pipeline(options=arguments('--streaming'))
    endless(p)
    result = p.run()
    wait_for(lambda: counter(result, 'ticks') > 2, 'some ticks')
    assert result.wait_until_finish(duration=50) == PipelineState.RUNNING
    assert result.drain() in (PipelineState.DRAINING, PipelineState.DRAINED)
    assert result.wait_until_finish() == PipelineState.DRAINED
    assert result.state == PipelineState.DRAINED
    assert counter(result, 'ticks') > 2
    assert counter(result, 'ticks', committed=False) >= counter(result, 'ticks')
    assert result.cancel() == PipelineState.DRAINED  # nothing is left to do


class _Count(beam.DoFn):

    def process(self, element):
        Metrics.counter('test', 'seen').inc()
        yield element


def test_metrics_by_step():
    p = beam.Pipeline(options=arguments())
    p | beam.Create([1, 2, 3]) | 'First' >> beam.ParDo(_Count()) | beam.Filter(lambda x: x > 1) | 'Second' >> beam.ParDo(_Count())
    result = p.run()
    result.wait_until_finish()

    def seen(step):
        found = result.metrics().query(MetricsFilter().with_name('seen').with_step(step))['counters']
        return [(c.key.step, c.committed) for c in found]

    assert seen('First') == [('First', 3)]
    assert seen('Second') == [('Second', 2)]
    assert seen('Third') == []


def test_log(caplog):
    with caplog.at_level(logging.INFO):
        with beam.Pipeline(options=arguments()) as p:
            p | beam.Create([1]) | beam.Map(lambda x: logging.getLogger('mine').warning('from the code'))  # pylint: disable=expression-not-assigned
    texts = [r.getMessage() for r in caplog.records]
    assert 'from the code' in texts
    for state in ('RUNNING', 'DONE'):
        assert f'Job {p.result.job_id} is {state}' in texts


def test_refused_pipeline():
    with pytest.raises(pharos_beam.PharosError, match='max_attempts'):
        beam.Pipeline(options=arguments('--pharos_max_attempts=1000')).run()


def test_no_server(caplog, monkeypatch):
    monkeypatch.setattr(client, '_PATIENCE_S', 0.1)
    with pytest.raises(pharos_beam.PharosError, match='no job service answers at 127.0.0.1:1'):
        beam.Pipeline(options=arguments('--pharos_endpoint=127.0.0.1:1', '--job_server_timeout=1')).run()
    assert 'no job service answers at 127.0.0.1:1 yet; waiting 1 s for one' in caplog.text


def test_endpoint_that_is_none():
    with pytest.raises(pharos_beam.PharosError, match="'http://localhost:8073' is not HOST:PORT"):
        beam.Pipeline(options=arguments('--pharos_endpoint=http://localhost:8073')).run()


@pytest.mark.parametrize('option', ['--pharos_workers', '--pharos_max_attempts'])
def test_number_that_is_none(option, capsys):
    with pytest.raises(SystemExit):
        PipelineOptions([f'{option}=0']).view_as(options.PharosOptions)
    assert f"{option}: '0' is no number from 1 on" in capsys.readouterr().err


def script(path, text):
    path.write_text('#!/bin/sh\n' + text)
    path.chmod(0o755)
    return str(path)


def test_program_that_is_another(tmp_path):
    other = script(tmp_path / 'other', 'exit 0')
    with pytest.raises(pharos_beam.PharosError, match=f'{other} serve ended with exit code 0: it says nothing'):
        beam.Pipeline(options=arguments(f'--pharos_binary={other}')).run()


def test_interrupt_of_the_start_leaves_no_process(tmp_path, program):
    slow = script(tmp_path / 'slow', 'echo $$; exec sleep 1000')
    # What the server says is logged, once the program knows that it has started one.
    p = program(
        'import logging, sys, apache_beam as beam; from apache_beam.options.pipeline_options import PipelineOptions\n'
        'logger = logging.getLogger("pharos_beam.server"); logger.setLevel("DEBUG")\n'
        'logger.addHandler(logging.StreamHandler(sys.stdout)); logger.propagate = False\n'
        'try: beam.Pipeline(options=PipelineOptions(sys.argv[1:])).run()\n'
        'except KeyboardInterrupt: print("interrupted"); sys.stdin.read()', '--runner=pharos_beam.PharosRunner',
        f'--pharos_binary={slow}')
    pid = int(p.line())
    p.process.send_signal(signal.SIGINT)
    assert p.line() == 'interrupted'
    assert ended(pid)  # while the program goes on


def test_no_program():
    with pytest.raises(pharos_beam.PharosError, match='/nowhere is not a program'):
        beam.Pipeline(options=arguments('--pharos_binary=/nowhere')).run()


def test_program_that_does_not_serve():
    with pytest.raises(pharos_beam.PharosError, match='exit code 2: .*memory'):
        beam.Pipeline(options=arguments('--pharos_memory=lots')).run()


def test_endpoint():
    own = server.Server(server.Settings(binary.find(), ()))
    try:
        with beam.Pipeline(options=arguments(f'--pharos_endpoint={own.endpoint}')) as p:
            assert_that(p | beam.Create([1]), equal_to([1]))
        assert p.result._service.endpoint == own.endpoint
    finally:
        own.stop()
    assert p.result.state == PipelineState.DONE  # known though the server is gone


def test_help_names_the_options(capsys):
    with pytest.raises(SystemExit):
        options.PharosOptions(['--help'])
    assert '--pharos_endpoint' in capsys.readouterr().out


ENDLESS = '''
import os, sys
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from pharos_beam import server

flags = ['--runner=pharos_beam.PharosRunner', '--streaming', *sys.argv[1:]]
with beam.Pipeline(options=PipelineOptions(flags)) as p:
    p | PeriodicImpulse(fire_interval=0.05) | beam.Map(lambda x: os.write(1, b'tick\\n'))
    # what the test waits for comes with the job
    print(server.shared(p._options.view_as(__import__('pharos_beam').PharosOptions)).pid)
'''


def test_interrupt_cancels_and_leaves_no_process(program):
    p = program(ENDLESS)
    pid = int(p.line())
    assert p.line() == 'tick'
    os.killpg(p.process.pid, signal.SIGINT)  # as a terminal does
    _, err = p.end()
    assert 'KeyboardInterrupt' in err and 'cancelling job' in err
    wait_for(lambda: ended(pid), 'the end of the server')


def test_server_dies_with_its_program(program):
    p = program(ENDLESS)
    pid = int(p.line())
    assert p.line() == 'tick'
    p.process.send_signal(signal.SIGKILL)
    wait_for(lambda: ended(pid), 'the end of the server')


def test_server_that_dies_is_an_error_that_names_it(program):
    p = program(ENDLESS)
    pid = int(p.line())
    assert p.line() == 'tick'
    os.kill(pid, signal.SIGKILL)
    _, err = p.end()
    assert re.search(r'PharosError: lost job \S+: the server at 127.0.0.1:\d+ does not answer', err)
    assert p.process.returncode == 1


NOT_WAITED_FOR = ENDLESS.replace('with beam', 'p = beam').replace(' as p:', '\nif p:') + 'result = p.run()\n'


def test_server_that_dies_leaves_no_workers(program):
    p = program(NOT_WAITED_FOR + 'print("runs")\nresult.wait_until_finish()', '--pharos_workers=2')
    pid = int(p.line())
    assert p.line() == 'runs'  # a server that dies before is another error
    workers = wait_for(lambda: children(pid), 'workers')
    os.kill(pid, signal.SIGKILL)
    assert 'PharosError: lost job' in p.end()[1]
    for worker in workers:
        wait_for(lambda pid=worker: ended(pid), 'the end of a worker')


def test_program_that_does_not_wait_says_that_its_job_is_lost(program):
    p = program(NOT_WAITED_FOR)
    pid = int(p.line())
    assert p.line() == 'tick'
    os.kill(pid, signal.SIGKILL)
    assert 'lost job' in p.end()[1]


NOBODY_WAITS = '''
import os, sys, time
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

def slow(x):
    if sys.argv[1:]:
        os.read(0, 1)  # as long as the test wants
    time.sleep(0.5)
    print('done', x)

p = beam.Pipeline(options=PipelineOptions(['--runner=pharos_beam.PharosRunner']))
p | beam.Create([1]) | beam.Map(slow)
p.run()
if sys.argv[1:]:
    raise SystemError('of the program')
'''


def test_program_that_does_not_wait_lives_to_the_end_of_its_job(program):
    p = program(NOBODY_WAITS)
    assert p.end()[0] == 'done 1\n'
    assert p.process.returncode == 0


def test_program_leaves_nothing_open(program):
    err = program(NOBODY_WAITS, PYTHONWARNINGS='always::ResourceWarning').end()[1]
    assert 'unclosed file' not in err


def test_program_that_fails_does_not_wait(program):
    p = program(NOBODY_WAITS, 'fail')
    p.process.wait(180)
    out, err = p.end()
    assert 'of the program' in err and 'cancelling job' in err and out == ''


def test_fork_leaves_the_server_to_the_parent():
    shared = server.shared(PipelineOptions().view_as(options.PharosOptions))
    code = (
        'import os; from pharos_beam import server, options; from apache_beam.options.pipeline_options import PipelineOptions\n'
        's = server.shared(PipelineOptions().view_as(options.PharosOptions))\n'
        'pid = os.fork()\n'
        'if pid == 0: os._exit(0 if not server._servers and s._process.stdin.closed else 1)\n'
        'print(os.waitpid(pid, 0)[1], s.alive())')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert out == '0 True\n'
    assert shared.alive()


FORKS = '''
import multiprocessing
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

def child():
    pass

def forks(x):
    p = multiprocessing.get_context('fork').Process(target=child)
    p.start()
    p.join()
    print('child', p.exitcode)

with beam.Pipeline(options=PipelineOptions(['--runner=pharos_beam.PharosRunner'])) as p:
    p | beam.Create([1]) | beam.Map(forks)
'''


def test_child_does_not_wait_for_the_jobs_of_its_parent(program):
    # With gRPC's fork handlers a child may abort (docs/python.md).
    assert program(FORKS, GRPC_ENABLE_FORK_SUPPORT='0').end()[0] == 'child 0\n'
