package pyflink_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/operatortest"
	"github.com/pharos-beam/pharos/operator/pyflink"
)

// pool is a pool of PyFlink's harness that ends with the test.
func pool(t testing.TB, o operator.PoolOptions) *operator.Pool {
	t.Helper()
	p, err := operator.NewPool(pyflink.Environment(operatortest.Python(t, "pyflink"), "UTC"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var ab = pyflink.Schema{{Name: "a", Type: pyflink.BigInt}, {Name: "b", Type: pyflink.BigInt}}

func TestScalarSource(t *testing.T) {
	p := pool(t, operator.PoolOptions{})
	ctx := deadline(t)
	f := pyflink.Scalar(ab, ab[:1],
		pyflink.UDF{Payload: pyflink.ScalarSource("lambda a, b: None if b is None else a + b"), Args: pyflink.Columns(0, 1)})
	op, err := p.Open(ctx, f, operator.Limits{Bundles: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	in, _ := pyflink.NewRowCoder(ab)
	out, _ := pyflink.NewRowCoder(ab[:1])
	b, err := in.Batch(pyflink.Values(int64(1), int64(2)), pyflink.Values(int64(3), nil))
	if err != nil {
		t.Fatal(err)
	}
	r, err := op.Call(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := out.Read(r.Data)
	if want := []pyflink.Row{pyflink.Values(int64(3)), pyflink.Values(nil)}; err != nil || !reflect.DeepEqual(rows, want) {
		t.Fatal(err, rows)
	}
}

func TestExceptionHasATraceback(t *testing.T) {
	p := pool(t, operator.PoolOptions{})
	ctx := deadline(t)
	f := pyflink.Scalar(ab, ab[:1], pyflink.UDF{Payload: pyflink.ScalarSource("lambda a, b: a // b"), Args: pyflink.Columns(0, 1)})
	op, err := p.Open(ctx, f, operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	in, _ := pyflink.NewRowCoder(ab)
	b, _ := in.Batch(pyflink.Values(int64(1), int64(0)))
	_, err = op.Call(ctx, b)
	var fe *operator.FunctionError
	if !errors.As(err, &fe) || !strings.Contains(fe.Traceback, "Traceback") || !strings.Contains(err.Error(), "ZeroDivisionError") {
		t.Fatal(err)
	}
	b, _ = in.Batch(pyflink.Values(int64(7), int64(2)))
	if _, err = op.Call(ctx, b); err != nil {
		t.Fatal("the worker should live on:", err)
	}
}

// TestRoundTrip sends what Flink's own client cannot read back through the
// harness: nulls within arrays and maps, and zoned timestamps.
func TestRoundTrip(t *testing.T) {
	s := pyflink.Schema{
		{Name: "z", Type: pyflink.LocalTimestamp(3)}, {Name: "y", Type: pyflink.LocalTimestamp(6)},
		{Name: "q", Type: pyflink.Timestamp(6)},
		{Name: "r", Type: pyflink.ArrayOf(pyflink.BigInt)}, {Name: "x", Type: pyflink.MapOf(pyflink.String, pyflink.Int)},
		{Name: "c", Type: pyflink.ArrayOf(pyflink.ArrayOf(pyflink.String))},
		{Name: "w", Type: pyflink.RowOf(pyflink.Field{Name: "m", Type: pyflink.MapOf(pyflink.Int, pyflink.ArrayOf(pyflink.Double))})},
	}
	udfs := make([]pyflink.UDF, len(s))
	for i := range s {
		udfs[i] = pyflink.UDF{Payload: pyflink.ScalarSource("lambda v: v"), Args: pyflink.Columns(i)}
	}
	p := pool(t, operator.PoolOptions{})
	ctx := deadline(t)
	op, err := p.Open(ctx, pyflink.Scalar(s, s, udfs...), operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	rows := []pyflink.Row{
		pyflink.Values(time.UnixMilli(1588748889123).UTC(), time.UnixMicro(1588748889123456).UTC(),
			time.UnixMicro(2114380800000001).UTC(), []any{int64(1), nil, int64(-3)},
			map[any]any{"one": int32(1), "none": nil}, []any{[]any{"a", nil}, nil, []any{}},
			pyflink.Values(map[any]any{int32(4): []any{0.5, nil}, int32(5): nil})),
		pyflink.Values(nil, nil, nil, nil, nil, nil, pyflink.Values(nil)),
		pyflink.Values(nil, nil, nil, nil, nil, nil, nil),
	}
	c, err := pyflink.NewRowCoder(s)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Batch(rows...)
	if err != nil {
		t.Fatal(err)
	}
	r, err := op.Call(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Read(r.Data); err != nil || !reflect.DeepEqual(got, rows) {
		t.Fatalf("%v\n%v\n%v", err, got, rows)
	}
}
