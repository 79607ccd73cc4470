"""Kinds of functions and the decorators that make them."""
import functools
import inspect
import types
import typing

import pyarrow as pa

#: Arrow types of Python annotations.
_ANNOTATIONS = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
}


def arrow_type(spec):
    """Returns the Arrow type that `spec` means: a type, its name, or a Python type."""
    if spec is None or isinstance(spec, pa.DataType):
        return spec
    if isinstance(spec, str):
        return pa.type_for_alias(spec)
    if spec in _ANNOTATIONS:
        return _ANNOTATIONS[spec]
    raise TypeError(f'{spec!r} is not an Arrow type')


def arrow_schema(spec):
    """Returns the schema that `spec` means: a schema, or names with types."""
    if isinstance(spec, pa.Schema):
        return spec
    return pa.schema([(name, arrow_type(t)) for name, t in dict(spec).items()])


def _annotated(fn):
    """Returns the Arrow type of what `fn` says it returns, with or without None, or None."""
    spec = inspect.get_annotations(fn).get('return')
    if isinstance(spec, str):  # only this one; the others may be names that are not there at run time
        try:
            spec = eval(spec, getattr(fn, '__globals__', {}))  # pylint: disable=eval-used
        except Exception:  # pylint: disable=broad-except
            return None
    if typing.get_origin(spec) in (typing.Union, types.UnionType):
        some = [t for t in typing.get_args(spec) if t is not type(None)]
        spec = some[0] if len(some) == 1 else None
    return _ANNOTATIONS.get(spec) if isinstance(spec, type) else None


class Function:
    """A function of a batch's columns.

    Subclasses say how: `columns` gets Arrow arrays of equal length and returns an Arrow array of
    that length.
    """

    def __init__(self, fn, returns=None):
        if not callable(fn):
            raise TypeError(f'{fn!r} is not a function')
        functools.update_wrapper(self, fn)
        self.__name__ = getattr(fn, '__name__', type(fn).__name__)
        self.fn = fn
        self.returns = arrow_type(returns)

    def __call__(self, *args, **kwargs):
        return self.fn(*args, **kwargs)

    def __reduce__(self):
        # cloudpickle follows the instance, not the name under which a module has it.
        return _rebuild, (type(self), dict(self.__dict__))

    def columns(self, arrays, rows):
        """Applies the function to `arrays`, each with `rows` values."""
        raise NotImplementedError(f'{self.__name__} does not give a column')

    def _array(self, result, **how):
        """Returns what the function returned for a column as an array."""
        try:
            return pa.array(result, type=self.returns, **how)
        except (TypeError, KeyError) as e:
            if isinstance(e, pa.ArrowException):  # it is a column, with wrong values
                raise
            raise TypeError(f'{self.__name__} returned a {type(result).__name__}, not a column of values') from e

    def _checked(self, result, rows):
        """Returns `result` as an array of the declared type, if it has the right length."""
        if isinstance(result, pa.ChunkedArray):
            result = result.combine_chunks()
        if isinstance(result, pa.Scalar):
            result = pa.repeat(result, rows)
        if not isinstance(result, pa.Array):
            result = self._array(result)
        if len(result) != rows:
            raise ValueError(f'{self.__name__} returned {len(result)} values for {rows} rows')
        if self.returns is not None and result.type != self.returns:
            result = result.cast(self.returns)
        return result


def _rebuild(kind, state):
    f = kind.__new__(kind)
    f.__dict__.update(state)
    return f


class ScalarFunction(Function):
    """Called for each row with Python values."""

    def __init__(self, fn, returns=None, skip_nulls=False):
        super().__init__(fn, returns if returns is not None else _annotated(fn))
        self.skip_nulls = skip_nulls

    def columns(self, arrays, rows):
        fn = self.fn
        values = [a.to_pylist() for a in arrays]
        if not values:
            result = [fn() for _ in range(rows)]
        elif self.skip_nulls:
            result = [None if None in row else fn(*row) for row in zip(*values)]
        else:
            result = list(map(fn, *values))
        return pa.array(result, type=self.returns)


class ArrowFunction(Function):
    """Called once for a batch with Arrow arrays."""

    def columns(self, arrays, rows):
        return self._checked(self.fn(*arrays), rows)


class PandasFunction(Function):
    """Called once for a batch with pandas Series."""

    def columns(self, arrays, rows):
        result = self.fn(*(a.to_pandas() for a in arrays))
        return self._checked(self._array(result, from_pandas=True), rows)


class TableFunction(Function):
    """Called for each row; yields any number of rows.

    A row that it yields is a tuple, a dict, or, where there is one column, a value.
    """

    def __init__(self, fn, returns):
        super().__init__(fn)
        self.schema = arrow_schema(returns)

    def rows(self, arrays, rows):
        """Returns the input row of each output row, and the output columns."""
        names = self.schema.names
        origin, columns = [], [[] for _ in names]
        inputs = zip(*(a.to_pylist() for a in arrays)) if arrays else (() for _ in range(rows))
        for i, row in enumerate(inputs):
            for out in self.fn(*row) or ():
                if isinstance(out, dict):
                    out = [out.get(n) for n in names]
                elif not isinstance(out, (tuple, list)):
                    out = (out,)
                if len(out) != len(names):
                    raise ValueError(f'{self.__name__} yielded {len(out)} values for {len(names)} columns')
                origin.append(i)
                for column, value in zip(columns, out):
                    column.append(value)
        return origin, [pa.array(c, type=f.type) for c, f in zip(columns, self.schema)]


class Aggregate:
    """Base class of what `@aggregate` decorates; also a description of what it needs."""

    def create(self):
        """Returns the accumulator of no rows."""
        raise NotImplementedError

    def accumulate(self, accumulator, *args):
        """Adds a row and returns the accumulator."""
        raise NotImplementedError

    def retract(self, accumulator, *args):
        """Takes a row away again and returns the accumulator."""
        raise NotImplementedError(f'{type(self).__name__} cannot retract')

    def result(self, accumulator):
        """Returns the value of the rows so far."""
        raise NotImplementedError


class AggregateFunction(Function):
    """Called with the rows of a group, one after the other."""

    def __init__(self, cls, returns):
        super().__init__(cls, returns)
        self.impl = None

    def instance(self):
        """Returns the aggregate itself, made once."""
        if self.impl is None:
            self.impl = self.fn()
        return self.impl


def _decorator(kind, fn, kwargs):
    if fn is None:
        return lambda f: kind(f, **kwargs)
    return kind(fn, **kwargs)


def scalar(fn=None, *, returns=None, skip_nulls=False):
    """Makes a function of Python values, one call a row.

    Args:
      returns: the Arrow type of the result; what the function is annotated with, else what Arrow
        infers from the values.
      skip_nulls: the result of a row with a null is null, without a call.
    """
    return _decorator(ScalarFunction, fn, {'returns': returns, 'skip_nulls': skip_nulls})


def arrow(fn=None, *, returns=None):
    """Makes a function of Arrow arrays, one call a batch."""
    return _decorator(ArrowFunction, fn, {'returns': returns})


def pandas(fn=None, *, returns=None):
    """Makes a function of pandas Series, one call a batch."""
    return _decorator(PandasFunction, fn, {'returns': returns})


def table(fn=None, *, returns):
    """Makes a function that yields any number of rows for each row.

    Args:
      returns: the columns: an Arrow schema, or names with types.
    """
    return _decorator(TableFunction, fn, {'returns': returns})


def aggregate(cls=None, *, returns=None):
    """Makes an aggregate function of a class like `Aggregate`."""
    return _decorator(AggregateFunction, cls, {'returns': returns})
