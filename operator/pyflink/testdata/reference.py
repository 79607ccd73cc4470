"""Runs functions on a real Flink (MiniCluster) and writes down what they return.

    python reference.py OUT.json [CASE...]

The output has the hash of this script and, for each case, the functions as PyFlink pickles them, the input rows and the rows
that Flink returned; reference_test.go runs the same through package operator and compares.
"""
import base64
import datetime
import decimal
import hashlib
import json
import os
import sys
import tempfile

import cloudpickle
from pyflink.common import Row
from pyflink.common import Time
from pyflink.common import Types
from pyflink.common import WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import BroadcastProcessFunction
from pyflink.datastream import CoProcessFunction
from pyflink.datastream import KeyedBroadcastProcessFunction
from pyflink.datastream import KeyedCoProcessFunction
from pyflink.datastream import KeyedProcessFunction
from pyflink.datastream import OutputTag
from pyflink.datastream import ProcessFunction
from pyflink.datastream import ProcessWindowFunction
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream import data_stream
from pyflink.datastream.state import ListStateDescriptor
from pyflink.datastream.state import MapStateDescriptor
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.datastream.window import EventTimeSessionWindows
from pyflink.datastream.window import SlidingEventTimeWindows
from pyflink.datastream.window import TumblingEventTimeWindows
from pyflink.table import AggregateFunction
from pyflink.table import AsyncScalarFunction
from pyflink.table import DataTypes
from pyflink.table import EnvironmentSettings
from pyflink.table import TableAggregateFunction
from pyflink.table import TableEnvironment
from pyflink.table import udf as udfs
from pyflink.table.expressions import col
from pyflink.table.expressions import lit
from pyflink.table.udf import udaf
from pyflink.table.udf import udf
from pyflink.table.udf import udtaf
from pyflink.table.udf import udtf
from pyflink.table.window import Session
from pyflink.table.window import Slide
from pyflink.table.window import Tumble

BIGINT = DataTypes.BIGINT()
EPOCH = datetime.datetime(1970, 1, 1)


def row_type(**fields):
    return DataTypes.ROW([DataTypes.FIELD(n, t) for n, t in fields.items()])


def plain(v):
    """Makes JSON of a value; reference_test.go does the reverse."""
    if v is None or isinstance(v, (bool, int, float, str)):
        return v
    if isinstance(v, (bytes, bytearray)):
        return bytes(v).hex()
    if isinstance(v, decimal.Decimal):
        return str(v)
    if isinstance(v, datetime.datetime):
        return (v - EPOCH) // datetime.timedelta(microseconds=1)
    if isinstance(v, datetime.date):
        return v.isoformat()
    if isinstance(v, datetime.time):
        return ((v.hour * 60 + v.minute) * 60 + v.second) * 1000 + v.microsecond // 1000
    if isinstance(v, dict):
        return [[plain(k), plain(x)] for k, x in v.items()]
    return [plain(x) for x in v]


def changelog(result):
    """Returns rows with their kinds."""
    with result.collect() as rows:
        return [[r.get_row_kind().value, plain(list(r))] for r in rows]


def pickled(function):
    return base64.b64encode(cloudpickle.dumps(function)).decode()


def environment(batch):
    settings = EnvironmentSettings.in_batch_mode() if batch else EnvironmentSettings.in_streaming_mode()
    t = TableEnvironment.create(settings)
    config = t.get_config()
    config.set('parallelism.default', '1')
    config.set('python.executable', sys.executable)
    config.set('table.local-time-zone', 'UTC')
    config.set('table.exec.resource.default-parallelism', '1')
    return t


# ---- rows

NUMBERS = [(i * 7919 - 3000, None if i % 5 == 0 else i % 7) for i in range(200)]
PAIRS = row_type(a=BIGINT, b=BIGINT)

TYPES = row_type(
    t=DataTypes.TINYINT(), s=DataTypes.SMALLINT(), i=DataTypes.INT(), l=BIGINT, f=DataTypes.FLOAT(),
    d=DataTypes.DOUBLE(), o=DataTypes.BOOLEAN(), e=DataTypes.DECIMAL(20, 4), v=DataTypes.STRING(),
    y=DataTypes.BYTES(), a=DataTypes.DATE(), m=DataTypes.TIME(), p=DataTypes.TIMESTAMP(3),
    q=DataTypes.TIMESTAMP(6), r=DataTypes.ARRAY(BIGINT),
    x=DataTypes.MAP(DataTypes.STRING(), DataTypes.INT()),
    w=row_type(n=BIGINT, t=DataTypes.STRING()), c=DataTypes.ARRAY(DataTypes.ARRAY(DataTypes.STRING())))

# PyFlink's client can neither read nulls within arrays, maps and rows nor zoned timestamps; those are tested
# without Flink.
TYPED_ROWS = [
    (1, 2, 3, 4, 0.5, 2.25, True, decimal.Decimal('12.3400'), 'snow \u2744 and \U0001f980', bytearray(b'\x00\xff'), datetime.date(2024, 2, 29),
     datetime.time(23, 59, 59, 123000), datetime.datetime(2001, 2, 3, 4, 5, 6, 789000),
     datetime.datetime(2001, 2, 3, 4, 5, 6, 789123),
     [1, 2, -3], {'one': 1, 'two': -2}, Row(5, 'in'), [['a', 'b'], []]),
    (-128, -32768, -2**31, -2**63, -1.5, -1e300, False, decimal.Decimal('-9999999999999999.9999'), '', bytearray(),
     datetime.date(1, 1, 1), datetime.time(0, 0), datetime.datetime(1969, 12, 31, 23, 59, 59),
     datetime.datetime(1970, 1, 1), [], {}, Row(0, 'zero'), []),
    (127, 32767, 2**31 - 1, 2**63 - 1, 3.0, 1e-300, True, decimal.Decimal('0.0001'), 'x' * 300, bytearray(b'y' * 300),
     datetime.date(9999, 12, 31), datetime.time(12, 0), datetime.datetime(2999, 1, 1),
     datetime.datetime(2037, 1, 1, 0, 0, 0, 1), [2**62], {'': -1}, Row(-1, ''), [[]]),
    tuple([None] * 18),
]


# ---- functions

def add(a, b):
    return None if b is None else a + b


def double(a):
    return 2 * a


def same(v):
    return v


def boom(a, b):
    if a == 4919:
        raise ValueError('boom at %d' % a)
    return a


def exits(a, b):
    os._exit(3)


def repeat(a, b):
    for i in range(b or 0):
        yield a, 'x%d' % i


class AsyncAdd(AsyncScalarFunction):
    async def eval(self, a, b):
        return None if b is None else a + b


def pandas_add(a, b):
    return a + b


class Sum(AggregateFunction):
    def create_accumulator(self):
        return Row(0)

    def get_value(self, accumulator):
        return accumulator[0]

    def accumulate(self, accumulator, v):
        accumulator[0] += v or 0

    def retract(self, accumulator, v):
        accumulator[0] -= v or 0

    def merge(self, accumulator, others):
        for o in others:
            accumulator[0] += o[0]

    def get_result_type(self):
        return BIGINT

    def get_accumulator_type(self):
        return row_type(s=BIGINT)


class Top2(TableAggregateFunction):
    def create_accumulator(self):
        return [None, None]

    def accumulate(self, accumulator, v):
        if accumulator[0] is None or v > accumulator[0]:
            accumulator[:] = [v, accumulator[0]]
        elif accumulator[1] is None or v > accumulator[1]:
            accumulator[1] = v

    def emit_value(self, accumulator):
        for v in accumulator:
            if v is not None:
                yield Row(v)

    def get_result_type(self):
        return row_type(v=BIGINT)

    def get_accumulator_type(self):
        return DataTypes.ARRAY(BIGINT)


def pandas_sum(v):
    return v.sum()


class Split(ProcessFunction):
    def process_element(self, value, ctx):
        for i in range(value[1] % 3):
            yield '%d:%d' % (value[0], i)


ODD = OutputTag('odd', Types.STRING())


class Keyed(KeyedProcessFunction):
    def open(self, ctx):
        self.count = ctx.get_state(ValueStateDescriptor('count', Types.LONG()))
        self.seen = ctx.get_map_state(MapStateDescriptor('seen', Types.LONG(), Types.STRING()))
        self.all = ctx.get_list_state(ListStateDescriptor('all', Types.LONG()))

    def process_element(self, value, ctx):
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        self.seen.put(value[1], 's%d' % value[1])
        if self.seen.contains(value[1] - 3):
            self.seen.remove(value[1] - 3)
        self.all.add(value[1])
        ctx.timer_service().register_event_time_timer(ctx.timestamp() + 2000)
        if value[1] % 4 == 0:
            ctx.timer_service().delete_event_time_timer(ctx.timestamp() + 2000)
        if value[1] % 2:
            yield ODD, 'odd %d' % value[1]
        yield 'k%d c%d' % (value[0], count)

    def on_timer(self, timestamp, ctx):
        yield 'timer %d key %d count %d all %d seen %s' % (
            timestamp, ctx.get_current_key(), self.count.value(), len(list(self.all.get())),
            sorted(self.seen.items()))


class Windowed(ProcessWindowFunction):
    def process(self, key, context, elements):
        yield 'key %d window %d-%d values %s' % (
            key, context.window().start, context.window().end, sorted(v[1] for v in elements))


class Both(CoProcessFunction):
    def process_element1(self, value, ctx):
        yield 'left %d' % value[1]

    def process_element2(self, value, ctx):
        for _ in range(2):
            yield 'right %d' % value[1]


# A time that only the last watermark passes.
LAST = 10**9


class KeyedBoth(KeyedCoProcessFunction):
    def open(self, ctx):
        self.left = ctx.get_state(ValueStateDescriptor('left', Types.LONG()))
        self.right = ctx.get_list_state(ListStateDescriptor('right', Types.LONG()))

    def process_element1(self, value, ctx):
        self.left.update((self.left.value() or 0) + value[1])
        ctx.timer_service().register_event_time_timer(LAST)

    def process_element2(self, value, ctx):
        self.right.add(value[1])

    def on_timer(self, timestamp, ctx):
        yield 'key %d left %d right %s' % (ctx.get_current_key(), self.left.value(), sorted(self.right.get() or []))


RULES = MapStateDescriptor('rules', Types.LONG(), Types.LONG())


class Rules(BroadcastProcessFunction):
    def process_element(self, value, ctx):
        yield 'element %d' % value[1]

    def process_broadcast_element(self, value, ctx):
        state = ctx.get_broadcast_state(RULES)
        state.put(value[0], (state.get(value[0]) or 0) + value[1])
        yield 'rules %s' % sorted(state.items())


class KeyedRules(KeyedBroadcastProcessFunction):
    def open(self, ctx):
        self.sum = ctx.get_state(ValueStateDescriptor('sum', Types.LONG()))

    def process_element(self, value, ctx):
        self.sum.update((self.sum.value() or 0) + value[1])
        ctx.timer_service().register_event_time_timer(LAST)

    def process_broadcast_element(self, value, ctx):
        state = ctx.get_broadcast_state(RULES)
        state.put(value[0], (state.get(value[0]) or 0) + value[1])

    def on_timer(self, timestamp, ctx):
        yield 'key %d sum %d rules %s' % (ctx.get_current_key(), self.sum.value(), sorted(ctx.get_broadcast_state(RULES).items()))


# ---- cases

def scalar(t):
    f = udf(add, result_type=BIGINT)
    g = udf(double, result_type=BIGINT)
    table = t.from_elements(NUMBERS, PAIRS)
    result = table.select(f(col('a'), col('b')), f(g(col('a')), lit(5))).execute()
    return {'payloads': [pickled(udfs.DelegatingScalarFunction(add)), pickled(udfs.DelegatingScalarFunction(double))],
            'constants': [base64.b64encode(b'\0' + cloudpickle.dumps(5)).decode()],
            'input': plain(NUMBERS), 'output': changelog(result)}


def types(t):
    table = t.from_elements(TYPED_ROWS, TYPES)
    calls = [udf(same, result_type=f.data_type)(col(f.name)) for f in TYPES.fields]
    return {'payloads': [pickled(udfs.DelegatingScalarFunction(same))], 'input': plain(TYPED_ROWS),
            'output': changelog(table.select(*calls).execute())}


def pandas_types(t):
    names = ['t', 's', 'i', 'l', 'f', 'd', 'o', 'e', 'v', 'y', 'a', 'm', 'p', 'r']
    rows = [tuple(v for v, f in zip(r, TYPES.fields) if f.name in names) for r in TYPED_ROWS]
    # pandas has no dates so far from now, and turns nulls of some types into others.
    rows = [rows[0], rows[0]]
    kind = DataTypes.ROW([f for f in TYPES.fields if f.name in names])
    table = t.from_elements(rows, kind)
    calls = [udf(same, result_type=f.data_type, func_type='pandas')(col(f.name)) for f in kind.fields]
    return {'payloads': [pickled(udfs.DelegatingScalarFunction(same))], 'input': plain(rows),
            'output': changelog(table.select(*calls).execute())}


def table(t):
    f = udtf(repeat, result_types=[BIGINT, DataTypes.STRING()])
    rows = t.from_elements(NUMBERS, PAIRS)
    result = rows.join_lateral(f(col('a'), col('b')).alias('n', 's')).select(col('a'), col('b'), col('n'), col('s')).execute()
    return {'payloads': [pickled(udfs.DelegationTableFunction(repeat))], 'input': plain(NUMBERS), 'output': changelog(result)}


def asynchronous(t):
    # With more rows in a bundle PyFlink 2.3.0 gives wrong results: its row coder reuses the row before
    # the function has seen it.
    t.get_config().set('python.fn-execution.bundle.size', '1')
    f = udf(AsyncAdd(), result_type=BIGINT)
    result = t.from_elements(NUMBERS[:40], PAIRS).select(f(col('a'), col('b'))).execute()
    out = {'payloads': [pickled(AsyncAdd())], 'input': plain(NUMBERS[:40]), 'output': changelog(result)}
    t.get_config().set('python.fn-execution.bundle.size', '1000')
    return out


def pandas(t):
    f = udf(pandas_add, result_type=BIGINT, func_type='pandas')
    rows = [(a, b or 0) for a, b in NUMBERS]
    result = t.from_elements(rows, PAIRS).select(f(col('a'), col('b'))).execute()
    return {'payloads': [pickled(udfs.DelegatingScalarFunction(pandas_add))], 'input': plain(rows), 'output': changelog(result)}


def group(t):
    f = udaf(Sum())
    rows = [(a, (b or 0) % 3) for a, b in NUMBERS]
    result = t.from_elements(rows, PAIRS).group_by(col('b')).select(col('b'), f(col('a'))).execute()
    return {'payloads': [pickled(Sum())], 'input': plain(rows), 'output': changelog(result)}


def group_table(t):
    f = udtaf(Top2())
    rows = [(a, (b or 0) % 3) for a, b in NUMBERS]
    result = t.from_elements(rows, PAIRS).group_by(col('b')).flat_aggregate(f(col('a')).alias('v')).select(col('b'), col('v')).execute()
    return {'payloads': [pickled(Top2())], 'input': plain(rows), 'output': changelog(result)}


def windows(t, window):
    rows = [(i, i % 3, datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=i + (i // 7) * 10)) for i in range(30)]
    with tempfile.NamedTemporaryFile('w', suffix='.csv', delete=False) as file:
        file.writelines('%d,%d,%s\n' % r for r in rows)
    name = os.path.basename(file.name).split('.')[0]
    t.execute_sql(f"CREATE TABLE {name} (a BIGINT, b BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH "
                  f"('connector' = 'filesystem', 'path' = '{file.name}', 'format' = 'csv')")
    f = udaf(Sum())
    result = t.from_path(name).window(window.on(col('ts')).alias('w')).group_by(col('w'), col('b')).select(
        col('b'), f(col('a')), col('w').start, col('w').end).execute()
    return {'payloads': [pickled(Sum())], 'input': plain(rows), 'output': changelog(result)}


def tumbling(t):
    return windows(t, Tumble.over(lit(4).seconds))


def sliding(t):
    return windows(t, Slide.over(lit(6).seconds).every(lit(2).seconds))


def session(t):
    return windows(t, Session.with_gap(lit(5).seconds))


def pandas_group(t):
    f = udaf(pandas_sum, result_type=BIGINT, func_type='pandas')
    rows = [(a, (b or 0) % 3) for a, b in NUMBERS]
    result = t.from_elements(rows, PAIRS).group_by(col('b')).select(col('b'), f(col('a'))).execute()
    return {'payloads': [pickled(udfs.DelegatingPandasAggregateFunction(pandas_sum))], 'input': plain(rows), 'output': changelog(result)}


def pandas_over(t):
    t.create_temporary_function('pandas_sum', udaf(pandas_sum, result_type=BIGINT, func_type='pandas'))
    rows = [(a, (b or 0) % 3) for a, b in NUMBERS[:40]]
    t.create_temporary_view('pairs', t.from_elements(rows, PAIRS))
    result = t.execute_sql(
        'SELECT a, b, pandas_sum(a) OVER (PARTITION BY b ORDER BY a ROWS BETWEEN 2 PRECEDING AND CURRENT ROW),'
        ' pandas_sum(a) OVER (PARTITION BY b ORDER BY a RANGE BETWEEN 20000 PRECEDING AND CURRENT ROW) FROM pairs')
    return {'payloads': [pickled(udfs.DelegatingPandasAggregateFunction(pandas_sum))], 'input': plain(rows), 'output': changelog(result)}


def exception(t):
    f = udf(boom, result_type=BIGINT)
    try:
        changelog(t.from_elements(NUMBERS, PAIRS).select(f(col('a'), col('b'))).execute())
    except Exception as e:  # pylint: disable=broad-except
        return {'payloads': [pickled(udfs.DelegatingScalarFunction(boom))], 'input': plain(NUMBERS), 'error': str(e)}
    raise AssertionError('the job should have failed')


# ---- DataStream

class Seconds(TimestampAssigner):
    def extract_timestamp(self, value, record_timestamp):
        return value[1] * 1000


EVENTS = [(i % 3, i) for i in range(40)]


def stream():
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(1)
    env.set_python_executable(sys.executable)
    events = env.from_collection(EVENTS, type_info=Types.TUPLE([Types.LONG(), Types.LONG()]))
    return events.assign_timestamps_and_watermarks(
        WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(Seconds()))


def collected(s):
    with s.execute_and_collect() as rows:
        return [[0, plain(r)] for r in rows]


def process(_):
    return {'payloads': [pickled(Split())], 'input': plain(EVENTS), 'output': collected(stream().process(Split(), Types.STRING()))}


def keyed(_):
    s = stream().key_by(lambda v: v[0], key_type=Types.LONG()).process(Keyed(), Types.STRING())
    odd = s.get_side_output(ODD)
    both = s.union(odd.map(lambda v: 'side ' + v, Types.STRING()))
    return {'payloads': [pickled(Keyed())], 'input': plain(EVENTS), 'output': collected(both)}


def last_function():
    """Has the functions written down that are made from now on, as PyFlink pickles them."""
    made = []
    make = data_stream._create_j_data_stream_python_function_info

    def record(func, kind):
        made.append(pickled(func))
        return make(func, kind)
    data_stream._create_j_data_stream_python_function_info = record
    return made


def windowed(assigner):
    made = last_function()
    s = stream().key_by(lambda v: v[0], key_type=Types.LONG()).window(assigner).process(Windowed(), Types.STRING())
    return {'payloads': made[-1:], 'input': plain(EVENTS), 'output': collected(s)}


def stream_tumbling(_):
    return windowed(TumblingEventTimeWindows.of(Time.seconds(7)))


def stream_sliding(_):
    return windowed(SlidingEventTimeWindows.of(Time.seconds(9), Time.seconds(3)))


def stream_session(_):
    global EVENTS  # pylint: disable=global-statement
    events, EVENTS = EVENTS, [e for e in EVENTS if e[1] % 10 < 7]
    try:
        return windowed(EventTimeSessionWindows.with_gap(Time.seconds(4)))
    finally:
        EVENTS = events


def by_key(s):
    return s.key_by(lambda v: v[0], key_type=Types.LONG())


def pair(first, second, function):
    return {'payloads': [pickled(function)], 'input': plain(EVENTS),
            'output': collected(first.connect(second).process(function, Types.STRING()))}


def co_process(_):
    env = stream()
    return pair(env, env.filter(lambda v: v[1] % 5 == 0), Both())


def keyed_co_process(_):
    env = stream()
    return pair(by_key(env), by_key(env.filter(lambda v: v[1] % 5 == 0)), KeyedBoth())


def broadcast(_):
    env = stream()
    return pair(env, env.filter(lambda v: v[1] % 5 == 0).broadcast(RULES), Rules())


def keyed_broadcast(_):
    env = stream()
    return pair(by_key(env), env.filter(lambda v: v[1] % 5 == 0).broadcast(RULES), KeyedRules())


STREAMING = [scalar, types, pandas, pandas_types, table, asynchronous, group, group_table, tumbling, sliding, session, exception, process, keyed,
             stream_tumbling, stream_sliding, stream_session, co_process, keyed_co_process, broadcast, keyed_broadcast]
BATCH = [pandas_group, pandas_over]


def main():
    out = {'exits': {'payloads': [pickled(udfs.DelegatingScalarFunction(exits))]}}
    only = sys.argv[2:]
    for batch, cases in ((False, STREAMING), (True, BATCH)):
        t = environment(batch)
        for case in cases:
            if only and case.__name__ not in only:
                continue
            print(case.__name__, flush=True)
            out[case.__name__] = case(t)
    with open(__file__, 'rb') as f:
        script = hashlib.sha256(f.read()).hexdigest()
    with open(sys.argv[1] + '.part', 'w') as f:
        json.dump({'script': script, 'cases': out}, f, indent=None, separators=(',', ':'))
    os.rename(sys.argv[1] + '.part', sys.argv[1])


if __name__ == '__main__':
    main()
