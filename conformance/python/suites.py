"""The child process of the Python kit: runs tests under pytest, reports events over a pipe.

pytest imports this very file as the test module of the suites `portable` and `extra`; their classes are made only
there. Started by kit.py as `suites.py SPEC`, a JSON file that says what to run.
"""
import faulthandler
import json
import os
import re
import shlex
import signal
import sys
import threading
import time

SPEC_VAR = 'PHAROS_CONFORMANCE_SPEC'
MARK = 'it_validatesrunner'
PASS, FAIL, SKIP = 'pass', 'fail', 'skip'


# Tests that Beam's decorators leave out of every run, for faults of its own
# runners and machines. They are run all the same.
UNSKIPPED = (
    'portable::test_batch_pardo_trigger_flush',
    'portable::test_large_elements',
    'portable::test_pardo_large_input',
    'portable::test_pardo_side_input_sparse_dependencies',
    'portable::test_teststream_pardo_timers',
    'validates::transforms/deduplicate_test.py::DeduplicateTest::'
    'test_deduplication_with_event_time',
    'validates::transforms/deduplicate_test.py::DeduplicateTest::'
    'test_deduplication_with_processing_time',
)


def unskip(cls, name):
  """Takes unittest's skip decorator off a test, for this class only."""
  test = getattr(cls, name)
  setattr(cls, name, getattr(test, '__wrapped__', test))


def in_process(endpoint):
  return endpoint.partition(':')[0] == 'inprocess'


def last_line(text):
  lines = [l.strip() for l in str(text).splitlines() if l.strip()]
  return lines[-1][:400] if lines else ''


def is_refusal(exc):
  """Whether the job service refused the pipeline, so that nothing ran."""
  # Our runner makes an exception of one line from the gRPC error.
  code = getattr(exc, 'code', getattr(exc.__cause__, 'code', None))
  return callable(code) and getattr(code(), 'name', '') == 'INVALID_ARGUMENT'


def cause_of(exc):
  """One line for the cause of a test's failure."""
  if callable(getattr(exc, 'details', None)):  # a gRPC error
    return '%s: %s' % (exc.code().name, ' '.join(exc.details().split())[:400])
  lines = [l.strip() for l in str(exc).splitlines() if l.strip()] or ['']
  # The runner's message often holds the worker's traceback, or a Go one: its
  # last "SomeError: text" line says most, and may go on for a few lines.
  found = None
  for i, line in enumerate(lines):
    if re.match(r'([\w.]+\.)?\w*(Error|Exception|Failure)\b.*:', line):
      found = i
  if found is None:
    text = ' '.join(lines[:3])
  else:
    text = ' '.join(lines[found:found + 6])
  kind = type(exc).__name__
  return (text if found is not None else '%s: %s' % (kind, text))[:400]


def pipeline_args(spec):
  """Pipeline options that send a pipeline to the runner under test."""
  if in_process(spec['endpoint']):
    runner = spec['endpoint'].partition(':')[2] or 'FnApiRunner'
    return ['--runner=' + runner] + spec['options']
  args = [
      '--runner=' + spec['runner'],
      '--job_endpoint=' + spec['endpoint'],
      '--job_server_timeout=%d' % (spec['timeout'] + 60),
      '--environment_type=' + spec['environment'],
  ]
  if spec['environment_config']:
    args.append('--environment_config=' + spec['environment_config'])
  return args + spec['options']


def make_suite_classes(spec):
  import unittest
  import apache_beam as beam
  from apache_beam.options.pipeline_options import PipelineOptions
  from apache_beam.options.pipeline_options import StandardOptions
  from apache_beam.options.pipeline_options import TypeOptions
  from apache_beam.runners.portability import portable_runner_test
  from apache_beam.runners.portability import prism_runner_test
  from apache_beam.runners.portability.fn_api_runner import fn_runner_test
  from apache_beam.runners.runner import create_runner
  from draining import draining

  local = in_process(spec['endpoint'])
  outside = spec['environment'] != 'LOOPBACK' and not local

  if local:
    # Keep the name: the base class looks at it to skip what it knows to hang.
    class FnApiRunnerTest(fn_runner_test.FnApiRunnerTest):
      pass

    suite = FnApiRunnerTest
  else:

    class JobServiceTest(portable_runner_test.PortableRunnerTest):
      streaming = False
      allow_unsafe_triggers = False

      @classmethod
      def _create_job_endpoint(cls):
        return spec['endpoint']

      def create_options(self):
        options = PipelineOptions(
            pipeline_args(spec) + ['--job_name=' + self._testMethodName])
        if self.streaming:
          options.view_as(StandardOptions).streaming = True
        if self.allow_unsafe_triggers:
          options.view_as(TypeOptions).allow_unsafe_triggers = True
        return options

      @classmethod
      def get_runner(cls):
        return create_runner(spec['runner'])

      def create_pipeline(self, is_drain=False):
        runner = self.get_runner()
        if is_drain:
          runner = draining(type(runner))()
        return beam.Pipeline(runner, self.create_options())

    # Beam leaves these out because no portable runner has drained so far.
    for name in ('test_sdf_default_truncate_when_bounded',
                 'test_sdf_default_truncate_when_unbounded',
                 'test_sdf_with_truncate',
                 'test_draining_sdf_with_sdf_initiated_checkpointing'):
      setattr(
          JobServiceTest, name, getattr(fn_runner_test.FnApiRunnerTest, name))

    if outside:

      def test_batch_rebatch_pardos(self):
        raise unittest.SkipTest('needs user code in the test process')

      JobServiceTest.test_batch_rebatch_pardos = test_batch_rebatch_pardos
    suite = JobServiceTest

  classes = {}
  if 'portable' in spec['suites']:
    classes[suite.__name__] = suite

  if 'extra' in spec['suites']:

    class Extra(suite):
      """Not part of Beam's common portable suite."""
      streaming = False
      allow_unsafe_triggers = False

      def test_metrics_bounded_trie(self):
        suite.test_metrics(self, check_bounded_trie=True)

    # Nothing inherited is wanted here: only the tests named below.
    for name in dir(suite):
      if name.startswith('test_'):
        setattr(Extra, name, None)
    # Beam's additions for Prism (the two after_count tests state what Prism
    # does, and contradict TriggerPipelineTest.test_after_count).
    if not local:
      for name in ('test_create_transform', 'test_failing_dofn',
                   'test_after_count_trigger_batch',
                   'test_after_count_trigger_streaming'):
        setattr(
            Extra, name, vars(prism_runner_test.PrismRunnerTest).get(name))

    # A GroupByKey result too large to hold at once; Beam pins this test to the
    # in-process runner with state backed iterables switched on.
    class StateBackedIterable(fn_runner_test.FnApiBasedStateBackedCoderTest):
      def create_pipeline(self):
        if local:
          return super().create_pipeline()
        return beam.Pipeline(options=PipelineOptions(pipeline_args(spec)))

    classes['Extra'] = Extra
    classes['StateBackedIterable'] = StateBackedIterable

  for name, cls in classes.items():
    cls.__module__ = __name__
    cls.__qualname__ = name
  return classes


if os.environ.get(SPEC_VAR) and __name__ != '__main__':
  with open(os.environ[SPEC_VAR]) as _f:
    globals().update(make_suite_classes(json.load(_f)))


class Reporter:
  """pytest plugin: picks the wanted tests, sends events to the parent."""
  def __init__(self, spec, emit):
    self.spec, self.emit = spec, emit
    self.wanted = spec.get('ids')
    self.outcome = self.current = None

  def job(self, kind, job_id=None):
    if self.outcome is not None:
      self.outcome['jobs'] += kind == 'submitted'
    self.emit(ev='job', kind=kind, job_id=job_id)

  def test_id(self, path, rest):
    """The name in results of a test that pytest calls FILE::rest."""
    if os.path.realpath(path) == os.path.realpath(__file__):
      cls, _, name = rest.partition('::')
      suite = 'portable' if cls in ('JobServiceTest',
                                    'FnApiRunnerTest') else 'extra'
      return '%s::%s' % (suite, name if suite == 'portable' else rest)
    rel = os.path.relpath(path, self.spec['beam_dir'])
    if rel == os.path.join('transforms', 'trigger_test.py'):
      return 'trigger::' + rest
    return 'validates::%s::%s' % (rel, rest)

  def want(self, item, test_id):
    suite = test_id.split('::')[0]
    if suite not in self.spec['suites']:
      return False
    if suite == 'validates':
      return item.get_closest_marker(MARK) is not None
    if suite == 'trigger':
      return item.cls is not None and item.cls.__name__ in (
          'TriggerPipelineTest',
          'TestStreamTranscriptTest',
          'WeakTestStreamTranscriptTest')
    return True

  def pytest_collectstart(self, collector):
    cls = getattr(collector, 'obj', None)
    if isinstance(cls, type):
      for name in dir(cls):
        if self.test_id(
            str(collector.path), cls.__name__ + '::' + name) in UNSKIPPED:
          unskip(cls, name)

  def pytest_collectreport(self, report):
    if report.failed:
      self.emit(
          ev='uncollectable',
          path=report.nodeid,
          reason=last_line(report.longreprtext))

  def pytest_collection_modifyitems(self, items):
    for item in items:
      item.conformance_id = self.test_id(
          str(item.path), item.nodeid.partition('::')[2])
    kept = [i for i in items if self.want(i, i.conformance_id)]
    if self.wanted is not None:
      by_id = {i.conformance_id: i for i in kept}
      kept = [by_id[i] for i in self.wanted if i in by_id]
    items[:] = kept

  def pytest_collection_finish(self, session):
    self.emit(ev='collected', ids=[i.conformance_id for i in session.items])

  def pytest_runtest_protocol(self, item):
    self.outcome = {
        'status': PASS, 'reason': '', 'detail': '', 'jobs': 0, 'refused': False
    }
    self.began = time.time()
    self.current = item.conformance_id
    self.emit(ev='start', id=self.current)

  def pytest_runtest_makereport(self, item, call):
    # Runs beside pytest's own implementation and returns nothing.
    del item
    if call.excinfo is None or self.outcome['status'] == FAIL:
      return
    import pytest
    import unittest
    exc = call.excinfo.value
    skips = (unittest.SkipTest, pytest.skip.Exception)
    if isinstance(exc, skips):
      self.outcome.update(status=SKIP, reason=last_line(exc))
    elif isinstance(exc, ImportError) and not self.outcome['jobs']:
      self.outcome.update(
          status=SKIP, reason='missing dependency: ' + last_line(exc))
    elif 'Unable to translate' in str(exc) and not self.outcome['jobs']:
      self.outcome.update(
          status=SKIP, reason='the SDK cannot express it: ' + last_line(exc))
    else:
      detail = str(call.excinfo.getrepr(style='native'))
      self.outcome.update(
          status=FAIL,
          reason=cause_of(exc),
          refused=is_refusal(exc),
          last_line=last_line(exc),
          detail=detail[-6000:])

  def pytest_runtest_logreport(self, report):
    # Skips that never run the test (decorators) reach us only here.
    if report.skipped and self.outcome['status'] == PASS:
      why = report.longrepr[2] if isinstance(report.longrepr, tuple) else ''
      self.outcome.update(
          status=SKIP, reason=last_line(why).removeprefix('Skipped: '))

  def pytest_runtest_logfinish(self, nodeid, location):
    self.emit(
        ev='finish', seconds=round(time.time() - self.began, 2), **self.outcome)

  def finished(self, session):
    # Threads left by a failed pipeline may disturb what follows; a refused
    # pipeline leaves none.
    if self.outcome['status'] == FAIL and not self.outcome['refused']:
      session.shouldstop = 'fresh process after a failure'


def watch_jobs(spec, reporter):
  """Tell the reporter about each job that is submitted for execution."""
  if in_process(spec['endpoint']):
    from apache_beam.runners.direct import direct_runner
    from apache_beam.runners.portability.fn_api_runner import fn_runner

    def watch(runner):
      run = runner.run_pipeline

      def run_pipeline(self, *args, **kwargs):
        reporter.job('submitted')
        return run(self, *args, **kwargs)

      runner.run_pipeline = run_pipeline

    watch(fn_runner.FnApiRunner)
    watch(direct_runner.BundleBasedDirectRunner)
    return

  from apache_beam.runners.portability import portable_runner
  handle = portable_runner.JobServiceHandle
  prepare, submit = handle.prepare, handle.run

  def prepare_and_tell(self, proto_pipeline, *args, **kwargs):
    reporter.job('submitted')
    response = prepare(self, proto_pipeline, *args, **kwargs)
    reporter.job('prepared', response.preparation_id)
    return response

  def run_and_tell(self, *args, **kwargs):
    result = submit(self, *args, **kwargs)
    reporter.job('running', result[0])
    return result

  handle.prepare, handle.run = prepare_and_tell, run_and_tell


def point_test_pipeline(spec):
  """Make TestPipeline send its pipelines to the runner under test.

  TestPipeline reads the command line options only when a test passes it no
  options object; several marked tests do pass one, and would silently run on
  the default runner.  Those get our options added.
  """
  from apache_beam.options.pipeline_options import PipelineOptions
  from apache_beam.testing import test_pipeline
  args = pipeline_args(spec)
  test_pipeline.TestPipeline.pytest_test_pipeline_options = shlex.join(args)
  original = test_pipeline.TestPipeline.__init__
  ours = PipelineOptions(args).get_all_options(drop_default=True)

  def init(self, runner=None, options=None, *more, **kwargs):
    if runner is None and options is not None:
      merged = options.get_all_options(drop_default=True)
      if not merged.get('runner'):
        for key, value in ours.items():
          if isinstance(value, list):
            value = (merged.get(key) or []) + value
          merged[key] = value
        options = PipelineOptions.from_dictionary(merged)
    original(self, runner, options, *more, **kwargs)

  test_pipeline.TestPipeline.__init__ = init


def child_main(spec_path):
  with open(spec_path) as f:
    spec = json.load(f)
  pipe = os.fdopen(spec['fd'], 'w', buffering=1)
  lock = threading.Lock()

  def emit(**event):
    with lock:
      pipe.write(json.dumps(event) + '\n')
      pipe.flush()

  faulthandler.enable()
  faulthandler.register(signal.SIGUSR1, all_threads=True)
  import pytest
  reporter = Reporter(spec, emit)
  point_test_pipeline(spec)
  watch_jobs(spec, reporter)

  class Stopper:
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
      result = yield
      reporter.finished(item.session)
      return result

  # A marked test module that cannot be imported (an optional dependency is
  # missing) must not keep the others from running.
  args = [
      '-c', os.devnull, '--rootdir', spec['beam_dir'], '-p', 'no:cacheprovider',
      '--continue-on-collection-errors', '--assert=plain', '-q', '-s',
      '-W', 'ignore'
  ]
  if spec['collect_only']:
    args += ['--collect-only']
  rc = pytest.main(args + spec['files'], plugins=[reporter, Stopper()])
  emit(ev='done', rc=int(rc))
  pipe.close()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(0)  # Beam's worker threads would delay a normal exit.


if __name__ == '__main__':
  child_main(sys.argv[1])
