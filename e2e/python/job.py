"""The job of the tests in Python: numbers that take their time, grouped, and counted by the metrics of what was committed.

Prints one line, `count=C sum=S grouped=G`, for the test to compare with what N numbers give.
"""

import argparse
import os
import time

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions


leaked = []


class Slow(beam.DoFn):
  """Passes numbers on with a key, after a pause."""

  def __init__(self, pause, extra, leak, stick, trace):
    self.pause, self.extra, self.leak, self.stick, self.trace = pause, extra, leak, stick, trace
    self.count, self.sum = Metrics.counter('e2e', 'count'), Metrics.counter('e2e', 'sum')

  def setup(self):
    if self.extra:  # a package that the boot program has installed, and a file of a volume
      import e2e_extra
      with open('/mnt/e2e/word') as f:
        assert f.read() == os.environ['E2E_WORD'] == e2e_extra.WORD

  def process(self, n):
    time.sleep(self.pause)
    if self.leak:
      leaked.append(b'x' * (self.leak << 20))
    if self.stick and n == 42 and not os.path.exists(self.stick):
      open(self.stick, 'w').close()  # once is enough
      self.never_returns()
    if self.trace:
      with open(self.trace, 'a') as f:
        f.write(f'{n}\n')
    self.count.inc()
    self.sum.inc(n)
    yield n % 10, n

  def never_returns(self):
    while True:
      time.sleep(1)


class Grouped(beam.DoFn):
  """Counts what the grouping has made of them."""

  def __init__(self):
    self.grouped = Metrics.counter('e2e', 'grouped')

  def process(self, group):
    values = list(group[1])
    assert len(values) == len(set(values)), 'a number that came twice'
    self.grouped.inc(len(values))


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--numbers', type=int, default=1000)
  parser.add_argument('--pause', type=float, default=0.01, help='seconds for each number')
  parser.add_argument('--extra', action='store_true', help='workers must have what the test stages, mounts and sets')
  parser.add_argument('--leak', type=int, default=0, help='MiB that a worker keeps of each number')
  parser.add_argument('--stick', help='the number 42 never returns, unless this file is there')
  parser.add_argument('--trace', help='file to which each number is written when it is processed, however often')
  own, rest = parser.parse_known_args()
  p = beam.Pipeline(options=PipelineOptions(rest))
  _ = (
      p | beam.Create(range(own.numbers)) | beam.Reshuffle()
      | 'Slow' >> beam.ParDo(Slow(own.pause, own.extra, own.leak, own.stick, own.trace))
      | beam.GroupByKey() | beam.ParDo(Grouped()))
  result = p.run()
  result.wait_until_finish()
  found = result.metrics().query(MetricsFilter().with_namespace('e2e'))['counters']
  print(' '.join(f'{name}={sum(c.committed for c in found if c.key.metric.name == name)}' for name in ('count', 'sum', 'grouped')))


if __name__ == '__main__':
  main()
