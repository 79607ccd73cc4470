package pyflink_test

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
	"github.com/pharos-beam/pharos/operator/operatortest"
	"github.com/pharos-beam/pharos/operator/pyflink"
)

// results are types of results, Python values of each and some that are none.
var results = []struct {
	pyflink.Type
	good, bad []string
}{
	{pyflink.TinyInt, []string{"None", "-128", "127", "True", "2.9", "-2.9"}, []string{"128", "-129", "'1'", "nan", "b'1'"}},
	{pyflink.SmallInt, []string{"None", "-32768", "32767"}, []string{"32768", "-32769"}},
	{pyflink.Int, []string{"None", "-2**31", "2**31-1", "Decimal('7')"}, []string{"2**31", "-2**31-1", "inf"}},
	{pyflink.BigInt, []string{"None", "-2**63", "2**63-1", "2**53+1", "False", "numpy.int64(7)"},
		[]string{"2**63", "-2**63-1", "nan", "datetime.now()"}},
	{pyflink.Float, []string{"None", "nan", "inf", "-inf", "-0.0", "0.1", "1e300", "2**60+1", "1e-46", "numpy.float32(0.1)"}, []string{"'1'", "10**400"}},
	{pyflink.Double, []string{"None", "nan", "inf", "-inf", "-0.0", "5e-324", "1.7976931348623157e308", "2**60+1", "2**70", "True", "Decimal('0.1')"},
		[]string{"'nan'", "10**400"}},
	{pyflink.Type{Kind: pyflink.KindDouble, NotNull: true}, []string{"None", "nan", "1"}, nil},
	{pyflink.Boolean, []string{"None", "True", "False", "0", "2", "numpy.True_"}, []string{"'x'", "256", "-1", "nan"}},
	{pyflink.Char(3), []string{"None", "''", "'a'", "'long text'", `'\0'`, `'\U0001f600'`}, []string{"b'x'", "1", "nan", `'\ud800'`}},
	{pyflink.String, []string{"None", "''", "'äö'", "'x' * 100000"}, []string{"b'x'", "1.5", "nan"}},
	{pyflink.Binary(3), []string{"None", "b''", "b'a'", "b'longer'", `b'\0\xff'`}, []string{"'x'", "1"}},
	{pyflink.VarBinary, []string{"None", "b''", `b'\0\xff'`, "bytearray(b'x')"}, []string{"'x'", "nan", "memoryview(b'x')"}},
	{pyflink.DecimalOf(10, 2), []string{"None", "Decimal('1')", "Decimal('1.235')", "Decimal('1.245')", "Decimal('-99999999.99')", "Decimal('1E+3')"},
		[]string{"Decimal('999999999')", "Decimal('Infinity')", "5", "1.5", "'1'"}},
	{pyflink.DecimalOf(38, 18), []string{"None", "Decimal('1E-18')", "Decimal('9' * 20 + '.' + '9' * 18)", "Decimal('-1E-19')"}, nil},
	{pyflink.DecimalOf(38, 0), []string{"None", "Decimal('9' * 38)", "Decimal('-0.5')"}, nil},
	{pyflink.Date, []string{"None", "date.min", "date.max", "date(1969, 12, 31)", "datetime(2020, 1, 1, 23, 59)"}, []string{"'2020-01-01'", "5", "nan"}},
	{pyflink.Time, []string{"None", "time.min", "time.max", "time(1, 2, 3, 456789)", "datetime(2020, 1, 1, 5, 6)"}, []string{"5", "'01:02'"}},
	{pyflink.Type{Kind: pyflink.KindTime, Precision: 3}, []string{"None", "time.max", "time(1, 2, 3, 456789)"}, nil},
	{pyflink.Type{Kind: pyflink.KindTime, Precision: 6}, []string{"None", "time.max", "time(1, 2, 3, 456789)"}, nil},
	{pyflink.Type{Kind: pyflink.KindTime, Precision: 9}, []string{"None", "time.max", "time(1, 2, 3, 456789)"}, nil},
	{pyflink.Timestamp(0), instants, []string{"date(2020, 1, 1)", "5", "pandas.NaT"}},
	{pyflink.Timestamp(3), instants, nil},
	{pyflink.Timestamp(6), instants, []string{"date(2020, 1, 1)", "'2020-01-01'"}},
	{pyflink.Timestamp(9), instants, nil},
	{pyflink.LocalTimestamp(0), instants, nil},
	{pyflink.LocalTimestamp(3), instants, []string{"5"}},
	{pyflink.LocalTimestamp(6), instants, nil},
	{pyflink.LocalTimestamp(9), instants, nil},
	{pyflink.ArrayOf(pyflink.Double), []string{"None", "[]", "[nan, None, 1]"}, []string{"(1, 2)", "'ab'", "['x']", "numpy.array([1.0])"}},
	{pyflink.ArrayOf(pyflink.ArrayOf(pyflink.LocalTimestamp(6))), []string{"None", "[None, [], [datetime(2020, 1, 2, 3, 4, 5, 678901), None]]"}, nil},
	{pyflink.MapOf(pyflink.String, pyflink.Time), []string{"None", "{}", "{'a': time(1, 2, 3, 456789), 'b': None}"},
		[]string{"{None: None}", "[('a', None)]", "{1: None}"}},
	{pyflink.MapOf(pyflink.Int, pyflink.ArrayOf(pyflink.Binary(2))), []string{"None", "{1: [b'long', None], 2: None}"}, nil},
}

// instants are timestamps, those among them that PyFlink's coder gets wrong.
var instants = []string{
	"None", "datetime.min", "datetime.max", "datetime(2020, 1, 2, 3, 4, 5, 678901)", "datetime(1969, 12, 31, 23, 59, 59, 500000)",
	"datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=-7)))", "datetime(2040, 1, 1)",
	"pandas.Timestamp('2020-01-02 03:04:05.678901234')",
}

// ofNumber is a function that gives the value whose number it is called with.
func ofNumber(values []string) []byte {
	const imports = "import numpy, pandas\nfrom datetime import *\nfrom decimal import Decimal\nfrom math import inf, nan\n" +
		"from pyflink.table.udf import DelegatingScalarFunction\n"
	function := "DelegatingScalarFunction(lambda i: [lambda: " + strings.Join(values, ", lambda: ") + "][i]())"
	return pyflink.Source("(lambda names: (exec(" + strconv.Quote(imports) + ", names), eval(" + strconv.QuoteToASCII(function) + ", names))[1])({})")
}

// A function gives the same values over Arrow as by row, and fails with the same
// ones, whatever the zone of TIMESTAMP_LTZ.
func TestByRowGivesWhatRowsGive(t *testing.T) {
	p, err := operator.NewPool(pyflink.Environment(operatortest.Python(t, "pyflink"), "Asia/Tokyo"), operator.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	in := pyflink.Schema{{Name: "i", Type: pyflink.BigInt}}
	for _, r := range results {
		t.Run(fmt.Sprintf("kind %d, precision %d", r.Kind, r.Precision), func(t *testing.T) {
			out := pyflink.Schema{{Name: "r", Type: r.Type}}
			udf := pyflink.UDF{Payload: ofNumber(append(slices.Clone(r.good), r.bad...)), Args: pyflink.Columns(0)}
			f, err := pyflink.ByRow(in, out, udf)
			if err != nil {
				t.Fatal(err)
			}
			overArrow, byRow := open(t, p, f.Function), open(t, p, pyflink.Scalar(in, out, udf))
			inArrow := func(rows ...pyflink.Row) ([]pyflink.Row, error) {
				b, err := f.Batch(batch(in, rows))
				if err != nil {
					t.Fatal(err)
				}
				got, err := (&arrow.Operator{Operator: overArrow}).Call(deadline(t), b)
				if err != nil {
					return nil, err
				}
				return rowsOf(got), nil
			}
			var rows []pyflink.Row
			for i := range r.good {
				rows = append(rows, pyflink.Values(int64(i)))
			}
			got, err := inArrow(rows...)
			if err != nil {
				t.Fatal(err)
			}
			same(t, comparable(got), comparable(callRows(t, byRow, in, out, rows)))
			for i, value := range r.bad {
				row := pyflink.Values(int64(len(r.good) + i))
				if got, err := inArrow(row); err == nil {
					t.Errorf("%s over Arrow gives %v", value, got)
				}
				c, err := pyflink.NewRowCoder(in)
				if err != nil {
					t.Fatal(err)
				}
				b, err := c.Batch(row)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := byRow.Call(deadline(t), b); err == nil {
					t.Errorf("%s by row has no error", value)
				}
			}
		})
	}
}

// open opens a function that ends with the test.
func open(t *testing.T, p *operator.Pool, f operator.Function) *operator.Operator {
	t.Helper()
	op, err := p.Open(deadline(t), f, operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(op.Close)
	return op
}

// comparable are rows as text in which equal decimals and times are equal: row
// mode has 1E-8 and -0.00.
func comparable(rows []pyflink.Row) []string {
	for _, r := range rows {
		if d, ok := r.Fields[0].(pyflink.Decimal); ok {
			n, _ := new(big.Rat).SetString(string(d))
			r.Fields[0] = n.String()
		}
	}
	return texts(rows)
}
