#!/usr/bin/env python3
"""Runs Python pipelines with Java transforms against a job service.

  kit.py HOST:PORT OUT.json [--only FILE] [--timeout SECONDS] [--runner NAME]

Each case of this file runs once for each way to get a Java worker; those of
pipelines.py, which are about the model and not about workers, run with the
first only, where no JVM has to start. A case runs in a process
of its own (kit.py case ...), so that a hang costs only that case.
"""
import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pipelines

HERE = os.path.dirname(os.path.abspath(__file__))
CLASS_PATH = os.path.join(HERE, '..', 'java', 'target', 'classpath-portable')
SERVICE = 'org.apache.beam.sdk.expansion.service.ExpansionService'
SERVICE_START_S = 60

# Options of the expansion service for each environment of its transforms.
WORKERS = {
    'external': ['--alsoStartLoopbackWorker=true'],
    'process': [
        '--defaultEnvironmentType=PROCESS',
        '--defaultEnvironmentConfig=' +
        json.dumps({'command': os.path.join(HERE, 'java-worker.sh')}),
    ],
}


def generate_sequence(p, service):
  """A Java source; Python reads what it gives."""
  import apache_beam as beam
  from apache_beam.io.external.generate_sequence import GenerateSequence
  numbers = p | GenerateSequence(start=1, stop=1001, expansion_service=service)
  return numbers | beam.CombineGlobally(sum), [500500]


def count_per_element(p, service):
  """A Java GroupByKey and combine between Python transforms."""
  import apache_beam as beam
  words = p | beam.Create(['a', 'b', 'a', 'c', 'a', 'b'])
  counts = words | java('Count', service).perElement()
  return counts | beam.MapTuple(lambda w, n: f'{w}: {n}'), ['a: 3', 'b: 2', 'c: 1']


def distinct_in_windows(p, service):
  """Windows of Python that Java groups by."""
  import apache_beam as beam
  from apache_beam.transforms import window
  events = (
      p | beam.Create([('a', 1), ('a', 2), ('a', 11), ('b', 12), ('b', 13)])
      | beam.MapTuple(lambda v, t: window.TimestampedValue(v, t))
      | beam.WindowInto(window.FixedWindows(10))
      | beam.Map(str).with_output_types(str))  # a coder that Java knows
  distinct = events | java('Distinct', service).create()

  class WithWindow(beam.DoFn):
    def process(self, v, w=beam.DoFn.WindowParam):
      yield f'{v} {int(w.start)}'

  return (
      distinct | beam.ParDo(WithWindow())
      | 'Global' >> beam.WindowInto(window.GlobalWindows()),
      ['a 0', 'a 10', 'b 10'])


def java_twice(p, service):
  """Java feeds Python, which feeds Java again; Python reads the end."""
  import apache_beam as beam
  from apache_beam.io.external.generate_sequence import GenerateSequence
  numbers = p | GenerateSequence(start=0, stop=10000, expansion_service=service)
  rests = numbers | beam.Map(lambda n: str(n % 7)).with_output_types(str)
  counts = rests | java('Count', service).perElement()
  return counts | beam.MapTuple(lambda _, n: n) | beam.CombineGlobally(sum), [10000]


CASES = {
    f.__name__: f
    for f in (generate_sequence, count_per_element, distinct_in_windows, java_twice)
}

MODEL_CASES = pipelines.cases()


def java(name, service):
  from apache_beam.transforms.external import JavaExternalTransform
  return JavaExternalTransform('org.apache.beam.sdk.transforms.' + name, service)


def run_case(case, endpoint, service, runner):
  import apache_beam as beam
  from apache_beam.options.pipeline_options import PipelineOptions
  from apache_beam.testing.util import assert_that
  from apache_beam.testing.util import equal_to
  options = PipelineOptions([
      '--runner=' + runner,
      '--job_endpoint=' + endpoint,
      '--environment_type=LOOPBACK',
      '--job_name=' + case,
  ])
  p = beam.Pipeline(options=options)
  check = None
  if case in MODEL_CASES:
    check = MODEL_CASES[case](p, pipelines.Java(service))
  else:
    actual, expected = CASES[case](p, service)
    assert_that(actual, equal_to(expected))
  result = p.run()
  result.wait_until_finish()
  if check:
    check(result)


class ExpansionService:
  """Beam's Java expansion service, as a process."""
  def __init__(self, worker, log_path):
    with socket.socket() as s:
      s.bind(('localhost', 0))
      port = s.getsockname()[1]
    self.address = 'localhost:%d' % port
    with open(CLASS_PATH) as f:
      class_path = f.read().strip()
    with open(log_path, 'w') as log:
      self.process = subprocess.Popen(
          [
              'java', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp',
              class_path, SERVICE, str(port), '--javaClassLookupAllowlistFile=*'
          ] + WORKERS[worker],
          stdin=subprocess.DEVNULL,
          stdout=log,
          stderr=subprocess.STDOUT,
          start_new_session=True)
    try:
      deadline = time.time() + SERVICE_START_S
      while time.time() < deadline and self.process.poll() is None:
        with contextlib.suppress(OSError):
          socket.create_connection(('localhost', port), 1).close()
          return
        time.sleep(0.1)
      sys.exit('the expansion service did not start, see ' + log_path)
    except BaseException:
      self.close()
      raise

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self.close()

  def close(self):
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self.process.pid, signal.SIGKILL)
    self.process.wait()


def in_process(case, endpoint, service, runner, timeout, log_path):
  """Runs a case in a new process; returns its status and why."""
  with open(log_path, 'w') as log:
    child = subprocess.Popen(
        [
            sys.executable, os.path.abspath(__file__), 'case', case, endpoint,
            service, runner
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True)
  try:
    status = 'pass' if child.wait(timeout) == 0 else 'fail'
  except subprocess.TimeoutExpired:
    status = 'timeout'
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(child.pid, signal.SIGKILL)
    child.wait()
  with open(log_path, errors='replace') as f:
    text = f.read()
  lines = [l for l in text.splitlines() if l.strip()]
  return status, '' if status == 'pass' or not lines else lines[-1], text[-6000:]


def main(argv):
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('endpoint')
  parser.add_argument('out')
  parser.add_argument('--only', metavar='FILE')
  parser.add_argument('--timeout', type=float, default=90)
  parser.add_argument('--workers', type=int, default=1, help='not used: few cases')
  parser.add_argument('--runner', default='PortableRunner', help="the Python SDK's")
  args = parser.parse_args(argv)
  only = None
  if args.only:
    with open(args.only) as f:
      only = f.read().splitlines()
  # A kit that is stopped leaves no process behind: see the with and finally.
  signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped'))
  logs = os.path.abspath(args.out) + '.logs'
  os.makedirs(logs, exist_ok=True)
  began, tests = time.time(), []
  for worker in WORKERS:
    cases = list(CASES)
    if worker == 'external':
      cases += [c for c in MODEL_CASES if c not in CASES]
    names = [c for c in cases if only is None or worker + '::' + c in only]
    if not names:
      continue
    log = os.path.join(logs, worker + '-expansion.log')
    with ExpansionService(worker, log) as service:
      for case in names:
        start = time.time()
        status, reason, output = in_process(
            case, args.endpoint, service.address, args.runner, args.timeout,
            os.path.join(logs, '%s-%s.log' % (worker, case)))
        name, seconds = worker + '::' + case, round(time.time() - start, 1)
        tests.append(
            dict(test=name, status=status, seconds=seconds, reason=reason, output=output))
        print('%-8s %6.1fs  %s  %s' % (status, seconds, name, reason), flush=True)
  with open(args.out, 'w') as f:
    json.dump(
        {
            'kit': 'xlang',
            'wall_seconds': round(time.time() - began, 1),
            'tests': tests
        }, f, indent=1)
  return 0


if __name__ == '__main__':
  if sys.argv[1:2] == ['case']:
    sys.exit(run_case(*sys.argv[2:]))
  sys.exit(main(sys.argv[1:]))
