"""Functions without a worker: python -m pytest sdks/python/tests."""
import base64
import json
import pickle

import pyarrow as pa
import pytest
from apache_beam.internal.cloudpickle import cloudpickle
from pharos_beam import udf
from pharos_beam.udf import operations
from pharos_beam.udf import payload


def run(batch, state=None, **spec):
    return operations.body_of(payload.parse(json.dumps(spec)), state).batch(batch)


def call(source, name, **more):
    return {'calls': [{'function': name, 'source': 'from pharos_beam import udf\n' + source, **more}]}


BATCH = pa.record_batch({'a': pa.array([1, None, 3]), 'b': pa.array(['x', 'y', None])})


def test_scalar_takes_its_type_from_annotations():
    out = run(BATCH, **call('@udf.scalar\ndef f(a: int) -> str:\n  return str(a)\n', 'f', args=[0]))
    assert out.to_pydict() == {'f': ['1', 'None', '3']}


def test_scalar_skips_nulls():
    out = run(BATCH, **call('@udf.scalar(skip_nulls=True)\ndef f(a, b):\n  return b * a\n', 'f'))
    assert out.to_pydict() == {'f': ['x', None, None]}


def test_undecorated_function_is_scalar():
    out = run(BATCH, **call('def f(a, b):\n  return a\n', 'f', **{'as': 'same'}))
    assert out.to_pydict() == {'same': [1, None, 3]}


def test_arrow_result_is_checked():
    with pytest.raises(ValueError, match='returned 1 values for 3 rows'):
        run(BATCH, **call('@udf.arrow\ndef f(a, b):\n  return a[:1]\n', 'f'))


def test_arrow_result_is_cast():
    out = run(BATCH, **call("@udf.arrow(returns='float64')\ndef f(a):\n  return a\n", 'f', args=[0]))
    assert out.schema.types == [pa.float64()]


def test_table_names_input_rows():
    source = "@udf.table(returns={'n': 'int64', 's': 'string'})\ndef f(a, b):\n  for i in range(a or 0):\n    yield {'n': i, 's': b}\n"
    out = run(BATCH, **call(source, 'f'))
    assert out.to_pydict() == {'row': [0, 2, 2, 2], 'n': [0, 0, 1, 2], 's': ['x', None, None, None]}


def test_table_rows_have_all_columns():
    with pytest.raises(ValueError, match='yielded 1 values for 2 columns'):
        run(BATCH, **call("@udf.table(returns={'n': 'int64', 's': 'string'})\ndef f(a):\n  yield 1\n", 'f', args=[0]))


@udf.aggregate(returns='int64')
class Count(udf.Aggregate):
    def create(self):
        return 0

    def accumulate(self, n, *_):
        return n + 1

    def result(self, n):
        return n


def test_aggregate_by_key_and_pickled():
    spec = {'calls': [{'pickle': base64.b64encode(cloudpickle.dumps(Count)).decode(), 'as': 'n', 'args': []}], 'keys': [1]}
    batch = pa.record_batch({'a': [1, 2, 3], 'k': ['x', 'y', 'x']})
    assert run(batch, **spec).to_pydict() == {'k': ['x', 'y'], 'n': [2, 1]}


def test_kinds_do_not_mix():
    with pytest.raises(ValueError, match='mixed'):
        operations.body_of(payload.Payload([payload.Call(Count, None, 'n'), payload.Call(udf.scalar(len), None, 'l')], [], False), None)


def test_stream_coder():
    impl = operations.ArrowStreamCoder().get_impl()
    assert impl.decode(impl.encode(BATCH)).equals(BATCH)
    assert impl.decode(impl.encode(BATCH.slice(0, 0))).num_rows == 0


@pytest.mark.parametrize('result', ['int | None', "'int | None'", "'Optional[int]'", 'Optional[int]', "'int'"])
def test_scalar_takes_its_type_from_a_result_that_may_be_none(result):
    source = f'from typing import Optional\n@udf.scalar\ndef f(a: "NotHere") -> {result}:\n  return None\n'
    out = run(BATCH, **call(source, 'f', args=[0]))
    assert out.schema.types == [pa.int64()]


def test_annotations_without_an_arrow_type_are_left_to_the_values():
    for result in ("'NotHere'", 'int | str', 'list[int]', '1'):
        out = run(BATCH, **call(f'@udf.scalar\ndef f(a: int) -> {result}:\n  return 1\n', 'f', args=[0]))
        assert out.schema.types == [pa.int64()]


def test_partial_functions_have_a_name():
    source = 'import functools\nf = udf.scalar(functools.partial(lambda x, a: a, 1))\n'
    assert run(BATCH, **call(source, 'f', args=[0])).to_pydict() == {'partial': [1, None, 3]}


@pytest.mark.parametrize('kind', ['arrow', 'pandas'])
@pytest.mark.parametrize('result', ['None', '5', 'object()'])
def test_what_is_no_column_is_named(kind, result):
    with pytest.raises(TypeError, match='f returned a .*, not a column of values'):
        run(BATCH, **call(f"@udf.{kind}(returns='int64')\ndef f(a):\n  return {result}\n", 'f', args=[0]))


@pytest.mark.parametrize('spec, error', [
    ({'calls': None}, 'no function to call'),
    ({'calls': [{}]}, 'neither the name'),
    ({'calls': [{'source': 'f = 1'}]}, 'neither the name'),
    (call('def f(a):\n  return a\n', 'g'), "does not define 'g'"),
    (call('def f(a):\n  return a\n', 'f', args=[2]), 'no column 2, the batch has 2'),
    (call('def f(a):\n  return a\n', 'f', args=[-1]), 'no column -1'),
    ({**call('def f(a, b):\n  return a\n', 'f'), 'keys': [0]}, 'f is not an aggregate'),
    ({**call('def f(a, b):\n  return a\n', 'f'), 'keep': True}, 'f is not an aggregate'),
])
def test_wrong_calls_are_named(spec, error):
    with pytest.raises(ValueError, match=error):
        run(BATCH, **spec)


def test_a_table_function_is_called_alone():
    source = "def f(a):\n  return a\n@udf.table(returns={'n': 'int64'})\ndef g(a):\n  yield 1\n"
    with pytest.raises(ValueError, match='called alone'):
        run(BATCH, calls=call(source, 'f')['calls'] + call(source, 'g')['calls'])


class Kept:
    """What `_Accumulators` is to aggregates, by the bytes of the keys."""

    def __init__(self):
        self.kept = {}

    def get(self, key):
        return self.kept.get(pickle.dumps(key))

    def put(self, key, accumulators):
        self.kept[pickle.dumps(key)] = accumulators


def test_nan_is_one_key_and_so_is_zero():
    state = Kept()
    keys = pa.array([float('nan'), 0.0, -0.0, None, float('nan'), -float('nan')])
    pickled = base64.b64encode(cloudpickle.dumps(Count)).decode()
    for round in (1, 2):
        out = run(pa.record_batch({'k': keys}), state, calls=[{'pickle': pickled, 'args': [0]}], keys=[0], keep=True)
        assert [str(k) for k in out.column(0).to_pylist()] == ['nan', '0.0', 'None']
        assert out.column(1).to_pylist() == [3 * round, 2 * round, round]
