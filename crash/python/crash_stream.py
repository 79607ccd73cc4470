"""The transforms of the crash suite's streaming job.

Everything that the job computes is a line of text, and the lines are a pure function of the number of ids and the seed.
crash/oracle.go computes the same.
"""
import os
import time
import zlib

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange
from apache_beam.io.restriction_trackers import OffsetRestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import CombiningValueStateSpec
from apache_beam.transforms.userstate import TimerSpec
from apache_beam.transforms.userstate import on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration
from apache_beam.utils.timestamp import Timestamp

MASK = (1 << 64) - 1
BASE_S = 1700000000  # event time of id 0
STEP_MS = 100  # between ids
JITTER_MS = 5000  # ids are out of order by less than this
WINDOW_S = 20
GAP_S = 4  # of sessions
KEYS = 20
SESSION_KEYS = 50
SOURCES = 4  # elements of the source; each emits every fourth id
BUCKETS = 4  # files


def mix(seed, n):
  """A hash of 64 bits: the finalizer of splitmix64."""
  z = (seed * 0x9E3779B97F4A7C15 + n + 1) * 0xBF58476D1CE4E5B9 & MASK
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
  return z ^ (z >> 31)


def event_ms(seed, n):
  return BASE_S * 1000 + n * STEP_MS - mix(seed, n) % JITTER_MS


class Ids(beam.DoFn, RestrictionProvider):
  """Emits ids at a rate: a few, then it lets the runner have the rest for later. Of source k, position p is id 4p+k."""
  emitted = Metrics.counter('crash', 'ids')

  def __init__(self, count, seed, batch, pause_s):
    self.count, self.seed, self.batch, self.pause_s = count, seed, batch, pause_s

  def initial_restriction(self, source):
    return OffsetRange(0, (self.count - source + SOURCES - 1) // SOURCES)

  def create_tracker(self, restriction):
    return OffsetRestrictionTracker(restriction)

  def restriction_size(self, source, restriction):
    return restriction.size()

  @beam.DoFn.unbounded_per_element()
  def process(
      self,
      source,
      tracker=beam.DoFn.RestrictionParam(),
      watermark=beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())):
    start, stop = tracker.current_restriction().start, tracker.current_restriction().stop
    for position in range(start, min(start + self.batch, stop)):
      if not tracker.try_claim(position):
        return
      n = position * SOURCES + source
      self.emitted.inc()
      yield TimestampedValue(n, Timestamp(micros=event_ms(self.seed, n) * 1000))
      watermark.set_watermark(Timestamp(micros=(BASE_S * 1000 + n * STEP_MS - JITTER_MS) * 1000))
    if start + self.batch < stop:
      tracker.defer_remainder(Duration(seconds=self.pause_s))
    else:
      tracker.try_claim(stop)


class Totals(beam.DoFn):
  """Counts each key's ids for ever, and tells each count: none may be missing, none may come twice."""
  TOTAL = CombiningValueStateSpec('total', sum)

  def process(self, kv, total=beam.DoFn.StateParam(TOTAL)):
    total.add(1)
    yield f'total|{kv[0]}|{total.read()}'


class Windowed(beam.DoFn):
  """Counts and hashes the ids of a key and window, and tells it by a timer in event time at the window's end."""
  COUNT = CombiningValueStateSpec('count', sum)
  HASH = CombiningValueStateSpec('hash', sum)
  END = TimerSpec('end', TimeDomain.WATERMARK)

  def __init__(self, seed):
    self.seed = seed

  def process(
      self,
      kv,
      window=beam.DoFn.WindowParam,
      count=beam.DoFn.StateParam(COUNT),
      digest=beam.DoFn.StateParam(HASH),
      end=beam.DoFn.TimerParam(END)):
    count.add(1)
    digest.add(mix(self.seed, kv[1]) >> 32)
    end.set(window.end)

  @on_timer(END)
  def ended(
      self,
      key=beam.DoFn.KeyParam,
      window=beam.DoFn.WindowParam,
      count=beam.DoFn.StateParam(COUNT),
      digest=beam.DoFn.StateParam(HASH)):
    yield f'window|{key}|{int(window.start)}|{count.read()}|{digest.read()}'
    count.clear()
    digest.clear()


class Alarm(beam.DoFn):
  """Sets one timer in processing time for each of its keys, with the first id, and tells how often it has fired."""
  SET = CombiningValueStateSpec('set', sum)
  FIRED = CombiningValueStateSpec('fired', sum)
  BELL = TimerSpec('bell', TimeDomain.REAL_TIME)

  def __init__(self, delay_s):
    self.delay_s = delay_s

  def process(self, kv, once=beam.DoFn.StateParam(SET), bell=beam.DoFn.TimerParam(BELL)):
    if not once.read():
      once.add(1)
      bell.set(time.time() + self.delay_s)

  @on_timer(BELL)
  def rang(self, key=beam.DoFn.KeyParam, fired=beam.DoFn.StateParam(FIRED)):
    fired.add(1)
    yield f'alarm|{key}|{fired.read()}'


class Write(beam.DoFn):
  """Writes a bucket's lines to a file, which says the same however often it is written."""
  def __init__(self, folder):
    self.folder = folder

  def process(self, kv, pane=beam.DoFn.PaneInfoParam):
    path = os.path.join(self.folder, f'{kv[0]}-{pane.index}')
    text = ''.join(line + '\n' for line in sorted(kv[1]))
    if os.path.exists(path):
      with open(path) as f:
        if f.read() != text:
          path += '.differs'
    with open(f'{path}.tmp{os.getpid()}', 'w') as f:
      f.write(text)
    os.replace(f.name, path)


class SessionLine(beam.DoFn):
  """Tells what is in a session."""
  def __init__(self, seed):
    self.seed = seed

  def process(self, kv, window=beam.DoFn.WindowParam):
    ids = list(kv[1])
    digest = sum(mix(self.seed, n) >> 32 for n in ids)
    yield f'session|{kv[0]}|{window.start.micros // 1000}|{window.end.micros // 1000}|{len(ids)}|{digest}'


class WindowStart(beam.DoFn):
  """Names a key and its window, as a key of its own."""
  def process(self, kv, window=beam.DoFn.WindowParam):
    yield f'{kv[0]}/{int(window.start)}', 1


class Sums(beam.DoFn):
  """New in a changed pipeline: keeps something of its own, and tells nobody."""
  SUM = CombiningValueStateSpec('sum', sum)

  def process(self, kv, total=beam.DoFn.StateParam(SUM)):
    total.add(kv[1])


def build(pipeline, count, seed, batch, pause_s, alarm_s, folder, changed=False):
  """Applies everything to the pipeline; if it has changed, with more transforms between and beside, for the same result."""
  ids = (
      pipeline
      | beam.Impulse()
      | 'Sources' >> beam.FlatMap(lambda _: range(SOURCES)).with_output_types(int)
      | beam.ParDo(Ids(count, seed, batch, pause_s)).with_output_types(int))
  if changed:
    ids = ids | 'Checked' >> beam.Filter(lambda n: 0 <= n < count)
  keyed = ids | 'Key' >> beam.Map(lambda n: (mix(seed, n) // JITTER_MS % KEYS, n)).with_output_types(tuple[int, int])
  windowed = keyed | 'Fixed' >> beam.WindowInto(beam.window.FixedWindows(WINDOW_S))
  everything = beam.window.GlobalWindows()
  if changed:
    _ = keyed | beam.ParDo(Sums())
  lines = [
      ids | 'Id' >> beam.Map(lambda n: f'id|{n}').with_output_types(str),
      keyed | beam.ParDo(Totals()).with_output_types(str),
      windowed | beam.ParDo(Windowed(seed)).with_output_types(str),
      (
          windowed
          | beam.ParDo(WindowStart()).with_output_types(tuple[str, int])
          | 'AlarmWindow' >> beam.WindowInto(everything)
          | beam.ParDo(Alarm(alarm_s)).with_output_types(str)),
      (
          ids
          | 'SessionKey' >> beam.Map(lambda n: (mix(seed, n) // JITTER_MS % SESSION_KEYS, n)).with_output_types(tuple[int, int])
          | 'Session' >> beam.WindowInto(beam.window.Sessions(GAP_S))
          | 'Sessions' >> beam.GroupByKey()
          | beam.ParDo(SessionLine(seed)).with_output_types(str)),
  ]
  _ = (
      [branch | f'All{i}' >> beam.WindowInto(everything) for i, branch in enumerate(lines)]
      | beam.Flatten()
      | 'Bucket' >> beam.Map(lambda line: (zlib.crc32(line.encode()) % BUCKETS, line)).with_output_types(tuple[int, str])
      | 'Gather' >> beam.GroupByKey()
      | beam.ParDo(Write(folder)))
