package pyflink_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
	"github.com/pharos-beam/pharos/operator/pyflink"
)

// byRow calls functions of rows with their rows in Arrow.
func byRow(t *testing.T, in, out pyflink.Schema, rows []pyflink.Row, udfs ...pyflink.UDF) ([]pyflink.Row, error) {
	t.Helper()
	f, err := pyflink.ByRow(in, out, udfs...)
	if err != nil {
		t.Fatal(err)
	}
	op, err := pool(t, operator.PoolOptions{}).Open(deadline(t), f.Function, operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	// A part of a batch: its buffers begin before it.
	whole := batch(in, append(rows[:1:1], rows...))
	defer whole.Release()
	part := whole.NewSlice(1, whole.NumRows())
	defer part.Release()
	b, err := f.Batch(part)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	got, err := (&arrow.Operator{Operator: op}).Call(deadline(t), b)
	if err != nil {
		return nil, err
	}
	defer got.Release()
	return rowsOf(got), nil
}

// A function sees the same values over Arrow as by row, NULL among them.
func TestByRow(t *testing.T) {
	day := time.Date(1969, 7, 20, 0, 0, 0, 0, time.UTC)
	columns := []struct {
		pyflink.Type
		values []any
	}{
		{pyflink.BigInt, []any{int64(math.MaxInt64), nil, int64(math.MinInt64), int64(1<<53 + 1)}},
		{pyflink.Int, []any{nil, nil, nil, nil}},
		{pyflink.SmallInt, []any{int16(1), int16(2), int16(-3), int16(4)}},
		{pyflink.TinyInt, []any{nil, int8(-128), int8(127), nil}},
		{pyflink.Type{Kind: pyflink.KindBigInt, NotNull: true}, []any{int64(1<<53 + 1), int64(1), int64(2), int64(3)}},
		{pyflink.Double, []any{math.NaN(), nil, math.Inf(1), 0.1}},
		{pyflink.Float, []any{float32(0.1), nil, float32(2), float32(3)}},
		{pyflink.Boolean, []any{true, nil, false, true}},
		{pyflink.String, []any{"äö", nil, "", "x"}},
		{pyflink.VarBinary, []any{[]byte{0, 255}, nil, []byte{}, []byte("x")}},
		{pyflink.DecimalOf(10, 2), []any{pyflink.Decimal("1.50"), nil, pyflink.Decimal("-99999999.99"), pyflink.Decimal("0.00")}},
		{pyflink.Date, []any{day, nil, day.AddDate(80, 0, 0), day}},
		{pyflink.Time, []any{1500 * time.Millisecond, nil, 23 * time.Hour, time.Duration(0)}},
	}
	var in pyflink.Schema
	rows := make([]pyflink.Row, 4)
	for i, c := range columns {
		in = append(in, pyflink.Field{Name: string(rune('a' + i)), Type: c.Type})
		for n, v := range c.values {
			rows[n].Fields = append(rows[n].Fields, v)
		}
	}
	var all []int
	for i := range in {
		all = append(all, i)
	}
	udfs := []pyflink.UDF{
		{Payload: pyflink.ScalarSource("lambda *row: repr(row)"), Args: pyflink.Columns(all...)},
		{Payload: pyflink.ScalarSource("lambda a, e: None if a is None else a // 2 + e"), Args: pyflink.Columns(0, 4)},
	}
	out := pyflink.Schema{{Name: "r", Type: pyflink.String}, {Name: "n", Type: pyflink.BigInt}}
	got, err := byRow(t, in, out, rows, udfs...)
	if err != nil {
		t.Fatal(err)
	}
	op, err := pool(t, operator.PoolOptions{}).Open(deadline(t), pyflink.Scalar(in, out, udfs...), operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	same(t, texts(got), texts(callRows(t, op, in, out, rows)))
}

func TestByRowHasATraceback(t *testing.T) {
	in := pyflink.Schema{{Name: "a", Type: pyflink.BigInt}}
	_, err := byRow(t, in, in, []pyflink.Row{pyflink.Values(int64(0))},
		pyflink.UDF{Payload: pyflink.ScalarSource("lambda a: 1 // a"), Args: pyflink.Columns(0)})
	if err == nil || !strings.Contains(err.Error(), "ZeroDivisionError") {
		t.Errorf("error %v", err)
	}
}

// What pandas would change is refused, and batches of another shape are.
func TestByRowRefuses(t *testing.T) {
	in := pyflink.Schema{
		{Name: "a", Type: pyflink.BigInt}, {Name: "t", Type: pyflink.Timestamp(3)}, {Name: "l", Type: pyflink.ArrayOf(pyflink.String)},
	}
	ok := pyflink.UDF{Payload: pyflink.ScalarSource("lambda *x: 1"), Args: pyflink.Columns(0)}
	f, err := pyflink.ByRow(in, in[:1], ok)
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]pyflink.Arg{
		"timestamps": pyflink.Columns(0, 1), "arrays": pyflink.Columns(2), "no column": pyflink.Columns(3),
		"a call": {{Call: &ok}}, "a constant": {{Constant: []byte{0}}}, "nothing": nil,
	} {
		if _, err := pyflink.ByRow(in, in[:1], pyflink.UDF{Payload: ok.Payload, Args: args}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := pyflink.ByRow(in, in[:1], pyflink.UDF{Payload: ok.Payload, Args: ok.Args, TakesRow: true}); err == nil {
		t.Error("the whole row: no error")
	}
	row := pyflink.RowOf(in[0])
	for name, result := range map[string]pyflink.Type{
		"a row": row, "rows in an array": pyflink.ArrayOf(row), "rows in a map": pyflink.MapOf(pyflink.Int, row), "another": {Kind: 18},
	} {
		_, err := pyflink.ByRow(in, pyflink.Schema{{Name: "good", Type: pyflink.Int}, {Name: "r", Type: result}}, ok, ok)
		if err == nil || !strings.Contains(err.Error(), "column r of function 1") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := pyflink.ByRow(in, in[:2], ok); err == nil {
		t.Error("two columns of one function: no error")
	}
	for name, s := range map[string]pyflink.Schema{
		"too few columns": in[:1], "text for a number": {{Name: "a", Type: pyflink.String}, in[1], in[2]},
	} {
		if _, err := f.Batch(batch(s, nil)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
