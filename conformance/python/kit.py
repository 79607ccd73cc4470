#!/usr/bin/env python3
"""Run Apache Beam's own Python tests against any runner behind a job service.

  kit.py HOST:PORT OUT.json [--only FILE] [--timeout SECONDS] [--workers N]
  kit.py list

The tests themselves are not here: they are imported from the installed
apache-beam wheel. "inprocess" as the endpoint means Beam's FnApiRunner,
"inprocess:NAME" another runner of the SDK. Suites:

  portable   FnApiRunnerTest as derived by Beam's PortableRunnerTest: what Beam
             runs on Flink, Spark and Prism.
  validates  every test in the wheel marked it_validatesrunner, pointed at the
             endpoint through TestPipeline's options.
  trigger    trigger_test.py: TriggerPipelineTest and the two TestStream
             transcript suites (Beam runs the Weak one on Flink and Prism).
  extra      checks Beam has for one runner only, or switches off by default.

A child process (suites.py) runs the tests under pytest and reports events over
a pipe; this parent keeps a deadline per test. When a test overruns, the child
dumps its stacks to the log and is killed, the job is cancelled at the endpoint,
and a fresh child takes the remaining tests.

A test that passes without a job having reached the endpoint proves nothing
about the runner: its status is "norunner".
"""
import argparse
import contextlib
import glob
import importlib.util
import json
import os
import queue
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import suites

os.environ.setdefault('GRPC_ENABLE_FORK_SUPPORT', 'false')
os.environ.setdefault('GRPC_VERBOSITY', 'ERROR')

HERE = os.path.dirname(os.path.abspath(__file__))
SUITES = ('portable', 'validates', 'trigger', 'extra')
STARTUP_S = 180  # for a child to import Beam and collect
SERVICE_GONE_S = 20  # for a job service that is being started again
TIMEOUT, NO_RUNNER = 'timeout', 'norunner'


class Child:
  """One pytest process; next() gives what it reports."""
  def __init__(self, spec, workdir, name):
    read_fd, write_fd = os.pipe()
    spec_path = os.path.join(workdir, 'spec-%s.json' % name)
    with open(spec_path, 'w') as f:
      json.dump(dict(spec, fd=write_fd), f)
    self.log_path = os.path.join(workdir, 'tests-%s.log' % name)
    with open(self.log_path, 'w') as log:
      self.process = subprocess.Popen(
          [sys.executable, os.path.join(HERE, 'suites.py'), spec_path],
          cwd=workdir,  # not inside apache_beam/: its yaml/ shadows PyYAML
          env=dict(
              os.environ,
              PYTEST_DISABLE_PLUGIN_AUTOLOAD='1',
              **{suites.SPEC_VAR: spec_path}),
          stdin=subprocess.DEVNULL,
          stdout=log,
          stderr=subprocess.STDOUT,
          pass_fds=[write_fd],
          start_new_session=True)
    os.close(write_fd)
    self.events = queue.Queue()
    threading.Thread(target=self._read, args=(read_fd, ), daemon=True).start()

  def _read(self, fd):
    with os.fdopen(fd) as pipe:
      for line in pipe:
        with contextlib.suppress(ValueError):
          self.events.put(json.loads(line))
    self.events.put({'ev': 'eof'})

  def next(self, seconds):
    """The next event; None when none comes in time."""
    try:
      return self.events.get(timeout=max(0.01, seconds))
    except queue.Empty:
      return None

  def kill(self, dump=False):
    if self.process.poll() is None and dump:
      self.process.send_signal(signal.SIGUSR1)
      time.sleep(0.5)
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self.process.pid, signal.SIGKILL)
    self.process.wait()


class JobService:
  """The runner under test, over its endpoint."""
  def __init__(self, endpoint):
    self.endpoint = endpoint
    self.in_process = suites.in_process(endpoint)

  def up(self):
    """Whether it accepts connections, waiting a little for it."""
    if self.in_process:
      return True
    host, _, port = self.endpoint.rpartition(':')
    deadline = time.time() + SERVICE_GONE_S
    while time.time() < deadline:
      with contextlib.suppress(OSError):
        socket.create_connection((host, int(port)), 5).close()
        return True
      time.sleep(0.2)
    return False

  def cancel(self, job_ids):
    if self.in_process:
      return
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2
    from apache_beam.portability.api import beam_job_api_pb2_grpc
    with grpc.insecure_channel(self.endpoint) as channel:
      stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
      for job_id in job_ids:
        with contextlib.suppress(grpc.RpcError):
          stub.Cancel(
              beam_job_api_pb2.CancelJobRequest(job_id=job_id), timeout=5)


def find_beam():
  spec = importlib.util.find_spec('apache_beam')
  if spec is None:
    sys.exit('apache_beam is not installed: run `make setup-python`')
  return os.path.dirname(spec.origin)


def marked_files(beam_dir):
  """Test modules of the wheel that mention the marker."""
  found = []
  pattern = os.path.join(beam_dir, '**', '*_test.py')
  for path in sorted(glob.glob(pattern, recursive=True)):
    with open(path, encoding='utf-8', errors='replace') as f:
      if suites.MARK in f.read():
        found.append(path)
  return found


def suite_files(names, beam_dir):
  files = []
  if 'portable' in names or 'extra' in names:
    files.append(os.path.join(HERE, 'suites.py'))
  if 'validates' in names:
    files += marked_files(beam_dir)
  if 'trigger' in names:
    files.append(os.path.join(beam_dir, 'transforms', 'trigger_test.py'))
  return files


def file_of(test_id, beam_dir):
  suite, rest = test_id.split('::', 1)
  if suite == 'validates':
    return os.path.join(beam_dir, rest.split('::')[0])
  return suite_files([suite], beam_dir)[0]


class WorkerPool:
  """Workers for the environments that are not LOOPBACK, as processes."""
  def __init__(self, kind, workdir):
    self.process, self.config = None, ''
    if kind == 'LOOPBACK':
      return
    boot = os.path.join(workdir, 'boot.sh')
    with open(boot, 'w') as f:
      f.write(
          '#!/bin/sh\nexec %s %s "$@"\n' % (
              shlex.quote(sys.executable),
              shlex.quote(os.path.join(HERE, 'boot.py'))))
    os.chmod(boot, 0o755)
    if kind == 'PROCESS':
      self.config = json.dumps({'command': boot})
      return
    with socket.socket() as s:
      s.bind(('localhost', 0))
      port = s.getsockname()[1]
    with open(os.path.join(workdir, 'pool.log'), 'w') as log:
      self.process = subprocess.Popen(
          [
              sys.executable,
              '-m',
              'apache_beam.runners.worker.worker_pool_main',
              '--service_port=%d' % port,
              '--container_executable=' + boot
          ],
          cwd=workdir,
          stdin=subprocess.DEVNULL,
          stdout=log,
          stderr=subprocess.STDOUT,
          start_new_session=True)
    self.config = 'localhost:%d' % port

  def close(self):
    if self.process is not None:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(self.process.pid, signal.SIGKILL)
      self.process.wait()


class Run:
  def __init__(self, args, workdir):
    self.timeout, self.workdir = args.timeout, workdir
    self.beam_dir = find_beam()
    self.service = JobService(args.endpoint)
    self.pool = WorkerPool(args.environment, workdir)
    self.lock = threading.Lock()
    self.results, self.uncollectable = [], []
    self.children = 0
    self.spec = {
        'endpoint': args.endpoint,
        'runner': args.runner,
        'environment': args.environment,
        'environment_config': self.pool.config,
        'options': args.pipeline_option,
        'timeout': int(args.timeout),
        'suites': SUITES,
        'beam_dir': self.beam_dir,
    }

  def child(self, **changes):
    with self.lock:
      self.children += 1
      name = '%03d' % self.children
    return Child(dict(self.spec, **changes), self.workdir, name)

  def collect(self):
    child = self.child(
        files=suite_files(SUITES, self.beam_dir), collect_only=True)
    ids, deadline = None, time.time() + STARTUP_S
    while True:
      event = child.next(deadline - time.time())
      if event is None or event['ev'] in ('eof', 'done'):
        break
      if event['ev'] == 'uncollectable':
        self.uncollectable.append(event)
      elif event['ev'] == 'collected':
        ids = event['ids']
    child.kill()
    if ids is None:
      sys.exit('collecting the tests failed; see ' + child.log_path)
    return sorted(ids, key=lambda i: SUITES.index(i.split('::')[0]))

  def record(self, test_id, status, reason='', seconds=0.0, **more):
    row = dict(
        test=test_id,
        status=status,
        seconds=round(seconds, 2),
        reason=reason,
        **more)
    with self.lock:
      self.results.append(row)
      print(
          '%-8s %6.1fs  %s%s' %
          (status, seconds, test_id, '  -- ' + reason if reason else ''),
          flush=True)

  def run_all(self, ids, workers):
    for event in self.uncollectable:
      path = event['path'].split('::')[0]
      self.record(
          'validates::' + path,
          suites.SKIP,
          'module not importable: ' + event['reason'])
    shards = [ids[i::workers] for i in range(workers)]
    threads = [threading.Thread(target=self.run_list, args=(s, )) for s in shards]
    for t in threads:
      t.start()
    for t in threads:
      t.join()

  def run_list(self, pending):
    while pending:
      if not self.service.up():
        for test_id in pending:
          self.record(test_id, suites.FAIL, 'endpoint does not answer')
        return
      done = self.run_some(pending)
      if not done:
        self.record(
            pending[0], suites.FAIL, 'the test process did not get ready')
        done = {pending[0]}
      pending = [i for i in pending if i not in done]

  def run_some(self, pending):
    """Run tests in one child until it ends; returns the tests that ran."""
    files = list(dict.fromkeys(file_of(i, self.beam_dir) for i in pending))
    child = self.child(files=files, ids=pending, collect_only=False)
    current, jobs, began = None, [], time.time()
    deadline = began + STARTUP_S
    done = set()
    try:
      while True:
        event = child.next(deadline - time.time())
        if event is None:
          child.kill(dump=True)
          if current is not None:
            self.record(
                current,
                TIMEOUT,
                'no result after %ds' % self.timeout,
                time.time() - began,
                log=child.log_path)
            done.add(current)
            self.service.cancel(jobs)
          return done
        kind = event.pop('ev')
        if kind == 'start':
          current, jobs, began = event['id'], [], time.time()
          deadline = began + self.timeout
        elif kind == 'job' and event['job_id'] and event['job_id'] not in jobs:
          jobs.append(event['job_id'])
        elif kind == 'finish':
          self.finish(current, event, child.log_path)
          done.add(current)
          current, deadline = None, time.time() + STARTUP_S
        elif kind == 'eof' and current is not None:
          self.record(
              current,
              suites.FAIL,
              'the test process died (%s)' % child.process.wait(),
              time.time() - began,
              log=child.log_path)
          done.add(current)
          return done
        elif kind in ('done', 'eof'):
          return done
    finally:
      child.kill()

  def finish(self, test_id, event, log):
    submitted = event.pop('jobs')
    event.pop('refused')
    if event['status'] == suites.PASS and not submitted:
      event['status'] = NO_RUNNER
    if event['status'] == suites.FAIL:
      event['log'] = log
    if not event.get('detail'):
      event.pop('detail', None)
    self.record(test_id, **event)

  def save(self, path, wall):
    from importlib import metadata
    order = {t: n for n, t in enumerate(self.order)}
    self.results.sort(key=lambda r: order.get(r['test'], -1))
    document = {
        'kit': 'python',
        'beam': metadata.version('apache-beam'),
        'environment': self.spec['environment'],
        'wall_seconds': round(wall, 1),
        'tests': self.results,
    }
    with open(path, 'w') as f:
      json.dump(document, f, indent=1)
      f.write('\n')


def parse(argv):
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('endpoint')
  parser.add_argument('out', nargs='?')
  parser.add_argument(
      '--only', metavar='FILE', help='the tests to run, one id in each line')
  parser.add_argument('--timeout', type=float, default=90, help='s per test')
  parser.add_argument('--workers', type=int, default=1, help='at one time')
  parser.add_argument(
      '--environment',
      default='LOOPBACK',
      choices=('LOOPBACK', 'EXTERNAL', 'PROCESS'),
      help='where user code runs: in the test process; in processes started by '
      'a worker pool service of ours; in processes the runner starts')
  parser.add_argument(
      '--runner',
      default='PortableRunner',
      help="the SDK's runner that sends pipelines to the endpoint; "
      'pharos_beam.PharosRunner is ours')
  parser.add_argument(
      '--pipeline-option',
      action='append',
      default=[],
      metavar='--NAME=VALUE',
      help='a pipeline option to add; may be repeated')
  args = parser.parse_args(argv)
  if args.endpoint != 'list' and not args.out:
    parser.error('a file for the results is needed')
  return args


def main(argv):
  args = parse(argv)
  out = os.path.abspath(args.out) if args.out else None
  only = None
  if args.only:
    with open(args.only) as f:
      only = set(f.read().splitlines())
  workdir = out + '.logs' if out else tempfile.mkdtemp()
  os.makedirs(workdir, exist_ok=True)
  run = Run(args, workdir)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  began = time.time()
  try:
    run.order = run.collect()
    if only is not None:
      run.order = [i for i in run.order if i in only]
      run.uncollectable = []
    if args.endpoint == 'list':
      print('\n'.join(run.order))
      return 0
    run.run_all(run.order, max(1, args.workers))
    run.save(out, time.time() - began)
  finally:
    run.pool.close()
  return 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
