"""Operations and coders that Beam's harness runs for us, registered by URN.

An element is an Arrow IPC stream. Each element gives one element, which is flushed at once, so that
a bundle may stay open while results go back.
"""
import pickle

import pyarrow as pa
from apache_beam import coders
from apache_beam.coders import coder_impl
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners import common
from apache_beam.runners.worker import bundle_processor
from apache_beam.runners.worker import operation_specs
from apache_beam.runners.worker import operations

from pharos_beam.failure import tellable
from pharos_beam.udf import functions
from pharos_beam.udf import payload as payloads

#: Operation that applies functions to Arrow batches; its payload is JSON, see `payload`.
ARROW_FUNCTIONS_URN = 'pharos:transform:arrow_functions:v1'
#: Coder of Arrow record batches as IPC streams.
ARROW_STREAM_URN = 'pharos:coder:arrow_stream:v1'
#: State in which aggregates keep their accumulators.
ACCUMULATORS = 'accumulators'


class _ArrowStreamImpl(coder_impl.CoderImpl):
    """Record batches as IPC streams."""

    def encode_to_stream(self, value, out, nested):
        out.write(self.encode(value), nested)

    def decode_from_stream(self, stream, nested):
        return self.decode(stream.read_all(nested))

    def encode(self, value):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded):
        with pa.ipc.open_stream(pa.py_buffer(encoded)) as reader:
            batch = next(reader, None)
            more = list(reader)
        if batch is None:
            return pa.RecordBatch.from_pylist([], schema=reader.schema)
        if more:
            return pa.Table.from_batches([batch, *more]).combine_chunks().to_batches()[0]
        return batch

    def get_estimated_size_and_observables(self, value, nested=False):
        return value.nbytes, []


class ArrowStreamCoder(coders.Coder):
    """Coder of record batches."""

    def _create_impl(self):
        return _ArrowStreamImpl()

    def is_deterministic(self):
        return False

    def to_runner_api_parameter(self, context):
        return ARROW_STREAM_URN, None, ()

    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return hash(type(self))


coders.Coder.register_urn(ARROW_STREAM_URN, None, lambda *_: ArrowStreamCoder())


class _Columns:
    """Functions that give a column each."""

    def __init__(self, payload):
        self.calls = payload.calls

    def batch(self, batch):
        rows = batch.num_rows
        columns = [c.function.columns(c.arrays(batch), rows) for c in self.calls]
        return pa.RecordBatch.from_arrays(columns, names=[c.name for c in self.calls])

    def finish(self):
        pass


class _Table(_Columns):
    """A table function; the first column of its output is the number of the input row."""

    def batch(self, batch):
        call = self.calls[0]
        origin, columns = call.function.rows(call.arrays(batch), batch.num_rows)
        names = ['row', *call.function.schema.names]
        return pa.RecordBatch.from_arrays([pa.array(origin, pa.int32()), *columns], names=names)


#: The NaN of keys: it is found in a dict, for it is itself, though it is not equal to itself.
_NAN = float('nan')


def _key_values(column):
    """Returns the values of a key column, such that those of one group are equal and pickle alike."""
    values = column.to_pylist()
    if not pa.types.is_floating(column.type):
        return values
    # Minus zero and zero are one group, and so are all NaN.
    return [v if v is None else _NAN if v != v else v + 0.0 for v in values]


class _Aggregates(_Columns):
    """Aggregates by key: one output row for each key of the batch."""

    def __init__(self, payload, state):
        super().__init__(payload)
        self.keys = payload.keys
        self.state = state
        self.aggregates = [c.function.instance() for c in payload.calls]

    def batch(self, batch):
        keys = [payloads.column(batch, i) for i in self.keys]
        rows_of = {}
        for i, key in enumerate(zip(*map(_key_values, keys)) if keys else [()] * batch.num_rows):
            rows_of.setdefault(key, []).append(i)
        arguments = [[a.to_pylist() for a in c.arrays(batch)] for c in self.calls]
        results = [[] for _ in self.calls]
        for key, rows in rows_of.items():
            accumulators = self.state.get(key) if self.state else None
            if accumulators is None:
                accumulators = [a.create() for a in self.aggregates]
            for n, aggregate in enumerate(self.aggregates):
                value = accumulators[n]
                for i in rows:
                    value = aggregate.accumulate(value, *(column[i] for column in arguments[n]))
                accumulators[n] = value
                results[n].append(aggregate.result(value))
            if self.state:
                self.state.put(key, accumulators)
        columns = [pa.array([key[n] for key in rows_of], type=k.type) for n, k in enumerate(keys)]
        columns += [pa.array(r, type=c.function.returns) for r, c in zip(results, self.calls)]
        names = [batch.schema.names[i] for i in self.keys] + [c.name for c in self.calls]
        return pa.RecordBatch.from_arrays(columns, names=names)

    def finish(self):
        if self.state:
            self.state.write()


class _Accumulators:
    """Accumulators by key, as bag state of one value; written at the end of the bundle."""

    _coder = coders.BytesCoder().get_impl()

    def __init__(self, handler, transform_id):
        self.handler = handler
        self.transform_id = transform_id
        self.changed = {}

    def _state_key(self, key):
        return beam_fn_api_pb2.StateKey(
            bag_user_state=beam_fn_api_pb2.StateKey.BagUserState(
                transform_id=self.transform_id,
                user_state_id=ACCUMULATORS,
                key=pickle.dumps(key, protocol=4)))

    def get(self, key):
        if key in self.changed:
            return self.changed[key]
        for stored in self.handler.blocking_get(self._state_key(key), self._coder):
            return pickle.loads(stored)
        return None

    def put(self, key, accumulators):
        self.changed[key] = accumulators

    def write(self):
        # What is not answered when the bundle ends is not part of it, so all answers are waited for.
        asked = []
        for key, accumulators in self.changed.items():
            state_key = self._state_key(key)
            asked.append(self.handler.clear(state_key))
            asked.append(self.handler.extend(state_key, self._coder, [pickle.dumps(accumulators, protocol=4)]))
        self.changed.clear()
        for future in asked:
            answer = future.get()
            if answer.error:
                raise RuntimeError(answer.error)


class ArrowFunctionsOperation(operations.Operation):
    """Applies functions to each batch."""

    def __init__(self, name, spec, counter_factory, sampler, body, outputs):
        super().__init__(name, spec, counter_factory, sampler)
        self.body = body
        self.streams_of = outputs

    def process(self, o):
        with self.scoped_process_state, tellable():
            self.output(o.with_value(self.body.batch(o.value)))
        for sink in self.streams_of:
            sink.output_stream.flush()

    def finish(self):
        with self.scoped_finish_state, tellable():
            super().finish()
            self.body.finish()


def body_of(payload, state):
    """Returns what the functions of `payload` do with a batch."""
    if any(isinstance(c.function, functions.AggregateFunction) for c in payload.calls):
        if not all(isinstance(c.function, functions.AggregateFunction) for c in payload.calls):
            raise ValueError('aggregates cannot be mixed with other functions')
        return _Aggregates(payload, state)
    if payload.keys or payload.keep:
        raise ValueError(f'{payload.calls[0].name} is not an aggregate')
    if any(isinstance(c.function, functions.TableFunction) for c in payload.calls):
        if len(payload.calls) > 1:
            raise ValueError('a table function is called alone')
        return _Table(payload)
    return _Columns(payload)


@bundle_processor.BeamTransformFactory.register_urn(ARROW_FUNCTIONS_URN, bytes)
def _create(factory, transform_id, transform_proto, parameter, consumers):
    with tellable():
        payload = payloads.parse(parameter)
        state = _Accumulators(factory.state_handler, transform_id) if payload.keep else None
        body = body_of(payload, state)
    output_coders = factory.get_output_coders(transform_proto)
    tags = list(transform_proto.outputs)
    spec = operation_specs.WorkerDoFn(
        serialized_fn=None,
        output_tags=tags,
        input=None,
        side_inputs=None,
        output_coders=[output_coders[tag] for tag in tags])
    sinks = [c for cs in consumers.values() for c in cs if _is_sink(c)]
    op = ArrowFunctionsOperation(
        common.NameContext(transform_proto.unique_name, transform_id), spec, factory.counter_factory,
        factory.state_sampler, body, sinks)
    for tag in tags:
        for consumer in consumers.get(tag, ()):
            op.add_receiver(consumer, 0)
    return op


def _is_sink(operation):
    return isinstance(operation, bundle_processor.DataOutputOperation)
