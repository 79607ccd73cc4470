"""What the engine says about the functions to run."""
import base64
import dataclasses
import importlib
import json
import linecache
import pickle

from pharos_beam.udf import functions


def column(batch, i):
    """Returns a column of a batch."""
    if not 0 <= i < batch.num_columns:
        raise ValueError(f'there is no column {i}, the batch has {batch.num_columns}')
    return batch.column(i)


@dataclasses.dataclass
class Call:
    """A function and the columns that it is called with."""

    function: functions.Function
    #: Indices of columns; None for all.
    args: list | None
    #: Name of the output column.
    name: str

    def arrays(self, batch):
        """Returns the argument columns of a batch."""
        if self.args is None:
            return batch.columns
        return [column(batch, i) for i in self.args]


@dataclasses.dataclass
class Payload:
    """The calls of one operation."""

    calls: list
    #: Indices of the columns that group rows, for aggregates.
    keys: list
    #: Whether accumulators are state that the engine keeps.
    keep: bool


def parse(payload):
    """Reads the JSON that the Go package `operator/arrow` writes."""
    spec = json.loads(payload)
    calls = []
    for c in spec['calls'] or ():
        f = resolve(c)
        if not isinstance(f, functions.Function):
            f = functions.ScalarFunction(f)
        calls.append(Call(f, c.get('args'), c.get('as') or f.__name__))
    if not calls:
        raise ValueError('no function to call')
    return Payload(calls, spec.get('keys') or [], bool(spec.get('keep')))


def resolve(spec):
    """Finds a function by module and name, by source text and name, or in a pickle."""
    if 'pickle' in spec:
        return pickle.loads(base64.b64decode(spec['pickle']))
    name = spec.get('function')
    if not name:
        raise ValueError('a call has neither the name of a function nor a pickle')
    if 'source' in spec:
        return _from_source(spec['source'], name)
    module, _, attribute = name.partition(':')
    if not attribute:
        raise ValueError(f'function {name!r} is not of the form module:name')
    found = importlib.import_module(module)
    for part in attribute.split('.'):
        found = getattr(found, part)
    return found


def _from_source(source, name):
    """Runs source text as a module of its own and returns what it calls `name`."""
    file = f'<pharos udf {name}>'
    # Tracebacks then show the lines.
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    namespace = {'__name__': f'pharos_udf_{name}', '__file__': file}
    exec(compile(source, file, 'exec'), namespace)  # pylint: disable=exec-used
    if name not in namespace:
        raise ValueError(f'the source text does not define {name!r}')
    return namespace[name]
