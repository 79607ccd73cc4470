# Makes a vectorised function of a function of rows, see ByRow in byrow.go. What the function gives becomes what PyFlink's row
# coder would write, to the digit, with its errors; only that it is put into an Arrow column.
import datetime
import decimal

import pyarrow
from pyflink.table.udf import ScalarFunction


def arguments(column):
    """The values of a column of pandas. A column of two is one of numbers and whether there is one."""
    if column.ndim == 1:
        return column.tolist()
    values, there = column.iloc[:, 0].tolist(), column.iloc[:, 1]
    return values if there.all() else [v if t else None for v, t in zip(values, there.tolist())]


class Results:
    """A column of results, which PyFlink takes for a pandas Series. That has no NULL beside NaN."""
    dtype = None

    def __init__(self, values, convert):
        self.values, self.convert = values, convert

    def __len__(self):
        return len(self.values)

    def isnull(self):
        return None  # PyFlink passes it on as a mask: there is none

    def __arrow_array__(self, **to):
        if not set(map(type, self.values)) <= self.convert.as_it_is:
            self.values = [None if v is None else self.convert(v) for v in self.values]
        return pyarrow.array(self.values, **to)


class ByRow(ScalarFunction):
    def __init__(self, of_rows, convert):
        self.of_rows, self.convert = of_rows, convert

    def open(self, context):
        self.of_rows.open(context)

    def close(self):
        self.of_rows.close()

    def eval(self, *columns):
        return Results([self.of_rows.eval(*row) for row in zip(*map(arguments, columns))], self.convert)


def conversion(*as_it_is):
    """Marks a conversion of values. Those of the types given need none, for Arrow converts them in the same way."""
    def mark(convert):
        convert.as_it_is = {type(None), *as_it_is}
        return convert
    return mark


@conversion(int)
def integer(v):
    return v.__int__()  # as C does: a fraction is cut off, but text is no number


@conversion(float)
def real(v):
    return v.__float__()


@conversion(bool)
def boolean(v):
    return bytes((v.__int__(),)) != b'\0'  # a byte


@conversion(str)
def text(v):
    return v.encode('utf-8')


@conversion(bytes)
def binary(v):
    if not isinstance(v, (bytes, bytearray)):
        raise TypeError('expected bytes, %s found' % type(v).__name__)
    return v


def decimals(precision, scale):
    context, unit = decimal.Context(prec=precision), decimal.Decimal(10) ** -scale

    @conversion()
    def convert(v):
        with decimal.localcontext(context):
            return v.quantize(unit)
    return convert


@conversion()
def date(v):
    return v.toordinal() - 719163  # days since 1970


@conversion()
def time(v):
    return v.hour * 3600000 + v.minute * 60000 + v.second * 1000 + v.microsecond // 1000


def timestamp(precision):
    @conversion()
    def convert(v):
        seconds = int(v.replace(tzinfo=datetime.timezone.utc).timestamp())
        if precision <= 3:
            return seconds * 1000 + v.microsecond // 1000
        return seconds * 1000000 + v.microsecond
    return convert


def array(element):
    @conversion()
    def convert(v):
        if type(v) is not list:
            raise TypeError('Expected list, got %s' % type(v).__name__)
        return [None if e is None else element(e) for e in v]
    return convert


def mapping(key, value):
    @conversion()
    def convert(v):
        return [(key(k), None if e is None else value(e)) for k, e in v.items()]
    return convert
