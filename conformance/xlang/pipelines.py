"""Pipelines of Python transforms and of Java ones, which Beam's own Java
expansion service expands.

Each function of p and java is a case: it builds the pipeline p, with its
assertions. It may return a function that looks at the result. The Java
transforms are those of Beam's core, so no Java is compiled for this.
"""
import glob
import inspect
import tempfile
import typing

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that
from apache_beam.testing.util import equal_to
from apache_beam.transforms import external
from apache_beam.transforms import userstate
from apache_beam.transforms import window
from apache_beam.coders import coders
from apache_beam.typehints import row_type

CORE = 'org.apache.beam.sdk.transforms.'


class Java:
  """The Java transforms at an expansion service."""
  def __init__(self, address):
    self.address = address

  def __call__(self, name):
    """A class of Beam's core. Methods of the result are its static methods and, after them, builders."""
    return external.JavaExternalTransform(CORE + name, self.address)

  def schema(self, name, **args):
    """A SchemaTransform by its name."""
    urn = 'beam:schematransform:org.apache.beam:%s:v1' % name
    return external.SchemaAwareExternalTransform(urn, self.address, rearrange_based_on_discovery=True, **args)

  def sequence(self, start, stop):
    payload = external.ImplicitSchemaPayloadBuilder({'start': start, 'stop': stop})
    return external.ExternalTransform('beam:external:java:generate_sequence:v1', payload, self.address)


def cases():
  """The cases of this module, by name."""
  return {
      n: f
      for n, f in globals().items() if inspect.isfunction(f) and
      list(inspect.signature(f).parameters) == ['p', 'java']
  }


def words(p, text='to be or not to be'):
  return p | beam.Create(text.split()).with_output_types(str)


def pairs(p, kvs):
  return p | beam.Create(kvs).with_output_types(typing.Tuple[str, int])


def typed(t):
  return 'typed' >> beam.Map(lambda x: x).with_output_types(t)


def at(seconds):
  return 'at' >> beam.Map(lambda x: window.TimestampedValue(x, seconds(x)))


class WithWindow(beam.DoFn):
  def process(self, element, w=beam.DoFn.WindowParam):
    yield (float(w.start), float(w.end), element)


# --- Java in the middle, at the root, at the end


def sequence_as_root(p, java):
  assert_that(p | java.sequence(0, 1000) | beam.CombineGlobally(sum), equal_to([499500]))


def sequence_by_schema(p, java):
  rows = p | java.schema('generate_sequence', start=0, end=100)
  assert_that(rows | beam.Map(lambda r: r.value) | beam.CombineGlobally(sum), equal_to([4950]))


def nothing_reads_the_result(p, java):
  _ = words(p) | java('Count').perElement()


def empty_input(p, java):
  nothing = words(p) | beam.Filter(lambda w: False).with_output_types(str)
  assert_that(nothing | java('Count').perElement(), equal_to([]))


def java_after_java(p, java):
  counts = words(p) | java('Distinct').create() | 'of distinct' >> java('Count').perElement()
  assert_that(counts, equal_to([('to', 1), ('be', 1), ('or', 1), ('not', 1)]))


def there_and_back_often(p, java):
  col = words(p)
  for i in range(4):
    col = (
        col | 'java%d' % i >> java('Distinct').create()
        | 'python%d' % i >> beam.Map(lambda w: w + '!').with_output_types(str))
  assert_that(col, equal_to([w + '!!!!' for w in ('to', 'be', 'or', 'not')]))


# --- combining and grouping


def combine_per_key(p, java):
  col = pairs(p, [('a', 1), ('b', 2), ('a', 3)])
  assert_that(col | 'sum' >> java('Sum').longsPerKey(), equal_to([('a', 4), ('b', 2)]), label='check sum')
  assert_that(col | 'max' >> java('Max').longsPerKey(), equal_to([('a', 3), ('b', 2)]), label='check max')
  assert_that(col | 'mean' >> java('Mean').perKey(), equal_to([('a', 2.0), ('b', 2.0)]), label='check mean')


def combine_globally(p, java):
  numbers = p | beam.Create(range(1000)).with_output_types(int)
  assert_that(numbers | 'sum' >> java('Sum').longsGlobally(), equal_to([499500]), label='check sum')
  assert_that(numbers | 'count' >> java('Count').globally(), equal_to([1000]), label='check count')


def many_keys(p, java):
  numbers = p | beam.Create(range(20000)).with_output_types(int)
  kvs = numbers | beam.Map(lambda n: ('k%d' % (n % 5000), n)).with_output_types(typing.Tuple[str, int])
  sums = kvs | java('Sum').longsPerKey() | beam.Values() | beam.CombineGlobally(sum)
  assert_that(sums, equal_to([sum(range(20000))]))


def python_groups_what_java_made(p, java):
  groups = pairs(p, [('a', 1), ('b', 2), ('a', 3)]) | java('Reshuffle').viaRandomKey() | beam.GroupByKey()
  assert_that(groups | beam.MapTuple(lambda k, vs: (k, sorted(vs))), equal_to([('a', [1, 3]), ('b', [2])]))


def flatten_of_both(p, java):
  mine = p | 'mine' >> beam.Create([1, 2]).with_output_types(int)
  both = (mine, p | java.sequence(10, 12)) | beam.Flatten()
  assert_that(both | beam.CombineGlobally(sum), equal_to([24]))


def keys_values_swap(p, java):
  col = pairs(p, [('a', 1), ('b', 2)])
  assert_that(col | 'keys' >> java('Keys').create(), equal_to(['a', 'b']), label='check keys')
  assert_that(col | 'values' >> java('Values').create(), equal_to([1, 2]), label='check values')
  assert_that(col | 'swap' >> java('KvSwap').create(), equal_to([(1, 'a'), (2, 'b')]), label='check swap')


# --- state and timers


def java_state(p, java):
  batches = pairs(p, [('a', i) for i in range(10)] + [('b', 1)]) | java('GroupIntoBatches').ofSize(4)
  sizes = batches | beam.MapTuple(lambda k, vs: (k, len(list(vs))))
  assert_that(sizes, equal_to([('a', 4), ('a', 4), ('a', 2), ('b', 1)]))


class Number(beam.DoFn):
  SEEN = userstate.CombiningValueStateSpec('seen', sum)

  def process(self, kv, seen=beam.DoFn.StateParam(SEEN)):
    seen.add(1)
    yield (kv[0], seen.read())


def python_state_on_java_output(p, java):
  col = pairs(p, [('a', 1), ('b', 2), ('a', 3)]) | java('Reshuffle').viaRandomKey()
  assert_that(col | beam.ParDo(Number()), equal_to([('a', 1), ('a', 2), ('b', 1)]))


# --- windows, side inputs, streaming


def fixed_windows(p, java):
  late = words(p) | at(lambda w: 12 if w == 'not' else 1) | beam.WindowInto(window.FixedWindows(10))
  counts = late | typed(str) | java('Count').perElement() | beam.ParDo(WithWindow())
  assert_that(counts, equal_to([(0, 10, ('to', 2)), (0, 10, ('be', 2)), (0, 10, ('or', 1)), (10, 20, ('not', 1))]))


def sliding_windows(p, java):
  col = p | beam.Create([('a', 1), ('a', 7)]) | at(lambda kv: kv[1]) | beam.WindowInto(window.SlidingWindows(10, 5))
  sums = col | typed(typing.Tuple[str, int]) | java('Sum').longsPerKey() | beam.ParDo(WithWindow())
  assert_that(sums, equal_to([(-5, 5, ('a', 1)), (0, 10, ('a', 8)), (5, 15, ('a', 7))]))


def session_windows(p, java):
  col = (
      p | beam.Create([('a', 1), ('a', 4), ('a', 100), ('b', 6)])
      | at(lambda kv: kv[1]) | beam.WindowInto(window.Sessions(5)))
  sums = col | typed(typing.Tuple[str, int]) | java('Sum').longsPerKey() | beam.ParDo(WithWindow())
  assert_that(sums, equal_to([(1, 9, ('a', 5)), (100, 105, ('a', 100)), (6, 11, ('b', 6))]))


def side_input_from_java(p, java):
  total = p | java.sequence(0, 5) | beam.CombineGlobally(sum)
  out = words(p, 'x y') | beam.Map(lambda w, n: '%s%d' % (w, n), beam.pvalue.AsSingleton(total))
  assert_that(out, equal_to(['x10', 'y10']))


def stream(p):
  s = TestStream(coder=coders.StrUtf8Coder()).advance_watermark_to(0)
  s = s.add_elements([window.TimestampedValue(w, t) for w, t in (('a', 1), ('b', 2), ('a', 3))])
  s = s.advance_watermark_to(10).add_elements([window.TimestampedValue('a', 11)]).advance_watermark_to_infinity()
  return p | s | beam.WindowInto(window.FixedWindows(10)) | typed(str)


def streaming_count(p, java):
  counts = stream(p) | java('Count').perElement() | beam.ParDo(WithWindow())
  assert_that(counts, equal_to([(0, 10, ('a', 2)), (0, 10, ('b', 1)), (10, 20, ('a', 1))]))


def streaming_state(p, java):
  kvs = stream(p) | beam.Map(lambda w: (w, 1)).with_output_types(typing.Tuple[str, int])
  sizes = (
      kvs | java('GroupIntoBatches').ofSize(10)
      | beam.MapTuple(lambda k, vs: (k, len(list(vs)))) | beam.ParDo(WithWindow()))
  assert_that(sizes, equal_to([(0, 10, ('a', 2)), (0, 10, ('b', 1)), (10, 20, ('a', 1))]))


# --- coders and schemas


class Person(typing.NamedTuple):
  name: str
  age: int
  height: float
  nick: typing.Optional[str]
  tags: typing.Sequence[str]
  scores: typing.Mapping[str, int]


beam.coders.registry.register_coder(Person, beam.coders.RowCoder)
PEOPLE = [
    Person('Ann', 40, 1.7, None, ['x', 'y'], {'a': 1}),
    Person('Bob', 1 << 40, -0.5, 'b', [], {}),
    Person('\u00c9\u4e16', -1, 0.0, '', ['z'], {'b': 2, 'c': 3}),
]


def rows_through_java(p, java):
  rows = p | beam.Create(PEOPLE).with_output_types(Person) | java('Reshuffle').viaRandomKey()
  flat = rows | beam.Map(lambda r: (r.name, r.age, r.height, r.nick, list(r.tags), dict(r.scores)))
  assert_that(flat, equal_to([(r.name, r.age, r.height, r.nick, list(r.tags), dict(r.scores)) for r in PEOPLE]))


def explode_rows(p, java):
  rows = p | beam.Create([beam.Row(k='a', v=[1, 2]), beam.Row(k='b', v=[])]).with_output_types(
      row_type.RowTypeConstraint.from_fields([('k', str), ('v', typing.Sequence[int])]))
  out = rows | java.schema('yaml:explode', fields=['v'])
  assert_that(out | beam.Map(lambda r: (r.k, r.v)), equal_to([('a', 1), ('a', 2)]))


def values_of_all_kinds(p, java):
  for name, typ, values in [
      ('bytes', bytes, [b'', b'\x00\xff', b'x' * 70000]),
      ('str', str, ['', '\u00e9\u4e16', 'x' * 70000]),
      ('int', int, [0, -1, 1 << 62]),
      ('float', float, [0.0, -1.5, float('inf')]),
      ('bool', bool, [True, False]),
      ('kv', typing.Tuple[str, typing.Tuple[int, bytes]], [('a', (1, b'b'))]),
  ]:
    col = p | name >> beam.Create(values).with_output_types(typ)
    assert_that(col | 'java ' + name >> java('Reshuffle').viaRandomKey(), equal_to(values), label='check ' + name)


# --- files, metrics, failures


def tfrecord_files(p, java):
  folder = tempfile.mkdtemp()
  rows = words(p) | beam.Map(lambda w: beam.Row(record=w.encode())).with_output_types(
      row_type.RowTypeConstraint.from_fields([('record', bytes)]))
  _ = rows | java.schema(
      'tfrecord_write',
      output_prefix=folder + '/out',
      shard_template='-SSSSS-of-NNNNN',
      filename_suffix='',
      compression='UNCOMPRESSED',
      num_shards=0)

  def check(result):
    data = b''.join(open(f, 'rb').read() for f in sorted(glob.glob(folder + '/out*')))
    found = []
    while data:
      size = int.from_bytes(data[:8], 'little')
      found.append(data[12:12 + size].decode())
      data = data[12 + size + 4:]
    assert sorted(found) == sorted('to be or not to be'.split()), found

  return check


def counter_after_java(p, java):
  def count(kv):
    beam.metrics.Metrics.counter('x', 'n').inc(kv[1])

  _ = words(p) | java('Count').perElement() | beam.Map(count)

  def check(result):
    found = result.metrics().query(MetricsFilter().with_name('n'))['counters']
    assert [c.committed for c in found] == [6], found

  return check
