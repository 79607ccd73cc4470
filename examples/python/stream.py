"""A stream without an end: clicks on the pages of a site, counted for every five seconds.

Start it with `make stream`, or by hand, drained after half a minute:

  bin/pharos run --drain-after 30s -- .cache/venv/bin/python examples/python/stream.py
"""
import argparse
import logging
import random
import time

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.window import FixedWindows

PAGES = ['/', '/about', '/docs', '/download', '/pricing']


class Click(beam.DoFn):
  """Makes a click of each tick; some pages are more popular than others."""
  made = Metrics.counter('stream', 'clicks made')

  def process(self, tick):
    self.made.inc()
    yield PAGES[min(random.randrange(9), random.randrange(9), len(PAGES) - 1)]


class Report(beam.DoFn):
  """Prints the count of a page in a window."""
  counted = Metrics.counter('stream', 'clicks counted')

  def process(self, count, window=beam.DoFn.WindowParam):
    page, clicks = count
    self.counted.inc(clicks)
    start, end = (t.to_utc_datetime() for t in (window.start, window.end))
    print(f'{start:%H:%M:%S} - {end:%H:%M:%S}  {clicks:5d}  {page}', flush=True)


def total(result, name):
  found = result.metrics().query(MetricsFilter().with_name(name))['counters']
  return sum(m.committed for m in found)


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('--interval', type=float, default=0.05, help='seconds between clicks')
  parser.add_argument('--window', type=int, default=5, help='seconds that are counted together')
  args, rest = parser.parse_known_args()
  pipeline = beam.Pipeline(options=PipelineOptions(rest, streaming=True))
  (
      pipeline
      | PeriodicImpulse(start_timestamp=time.time(), fire_interval=args.interval)
      | beam.ParDo(Click())
      | beam.WindowInto(FixedWindows(args.window))
      | beam.combiners.Count.PerElement()
      | beam.ParDo(Report()))
  result = pipeline.run()
  try:
    result.wait_until_finish()
  except RuntimeError:
    # Beam's client calls everything but DONE a failure.
    if result.state != PipelineState.DRAINED:
      raise
  made, counted = total(result, 'clicks made'), total(result, 'clicks counted')
  print(f'{result.state}: {made} clicks made, {counted} counted')
  if made != counted:
    raise SystemExit('not every click has been counted exactly once')


if __name__ == '__main__':
  logging.basicConfig(level=logging.WARNING)
  main()
