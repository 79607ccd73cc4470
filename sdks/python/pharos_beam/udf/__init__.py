"""Functions that an engine calls through the Go package `operator`.

Decorators make functions of Python functions and classes; they stay callable as before::

    from pharos_beam import udf

    @udf.scalar
    def add(a: int, b: int) -> int:
        return a + b

    @udf.arrow(returns='int64')
    def total(a, b):
        return pyarrow.compute.add(a, b)

`python -m pharos_beam.udf` is the worker that runs them.
"""
from pharos_beam.udf.functions import Aggregate
from pharos_beam.udf.functions import Function
from pharos_beam.udf.functions import aggregate
from pharos_beam.udf.functions import arrow
from pharos_beam.udf.functions import pandas
from pharos_beam.udf.functions import scalar
from pharos_beam.udf.functions import table

__all__ = ['Aggregate', 'Function', 'aggregate', 'arrow', 'pandas', 'scalar', 'table']
