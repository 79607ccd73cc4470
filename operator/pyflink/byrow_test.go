package pyflink_test

import (
	"math"
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
	"github.com/pharos-beam/pharos/operator/pyflink"
)

var whole = pyflink.Type{Kind: pyflink.KindBigInt, NotNull: true}

// A function of rows gives the same over Arrow as by row: NULL, and integers
// beside it that a float has not.
func TestByRow(t *testing.T) {
	in := pyflink.Schema{{Name: "a", Type: whole}, {Name: "s", Type: pyflink.String}}
	out := pyflink.Schema{{Name: "n", Type: pyflink.BigInt}, {Name: "t", Type: pyflink.String}}
	udfs := []pyflink.UDF{
		{Payload: pyflink.ScalarSource("lambda a, s: None if s is None else a - len(s)"), Args: pyflink.Columns(0, 1)},
		{Payload: pyflink.ScalarSource("lambda s: type(s).__name__ + (s or '')"), Args: pyflink.Columns(1)},
	}
	rows := []pyflink.Row{
		pyflink.Values(int64(math.MaxInt64), "x"), pyflink.Values(int64(1), nil), pyflink.Values(int64(math.MinInt64+2), "äö"), pyflink.Values(int64(0), ""),
	}
	p := pool(t, operator.PoolOptions{})
	var over []pyflink.UDF
	for _, u := range udfs {
		u, err := pyflink.ByRow(in, u)
		if err != nil {
			t.Fatal(err)
		}
		over = append(over, u)
	}
	op, err := p.Open(deadline(t), pyflink.Pandas(in, out, over...), operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	want := []pyflink.Row{
		pyflink.Values(int64(math.MaxInt64-1), "strx"), pyflink.Values(nil, "NoneType"), pyflink.Values(int64(math.MinInt64), "sträö"), pyflink.Values(int64(0), "str"),
	}
	same(t, texts(callArrow(t, op, in, rows)), texts(want))
}

func TestByRowHasATraceback(t *testing.T) {
	in := pyflink.Schema{{Name: "a", Type: whole}}
	u, err := pyflink.ByRow(in, pyflink.UDF{Payload: pyflink.ScalarSource("lambda a: 1 // a"), Args: pyflink.Columns(0)})
	if err != nil {
		t.Fatal(err)
	}
	op, err := pool(t, operator.PoolOptions{}).Open(deadline(t), pyflink.Pandas(in, in, u), operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	_, err = (&arrow.Operator{Operator: op}).Call(deadline(t), batch(in, []pyflink.Row{pyflink.Values(int64(0))}))
	if err == nil || !strings.Contains(err.Error(), "ZeroDivisionError") {
		t.Errorf("error %v", err)
	}
}

// What pandas would change is refused.
func TestByRowRefuses(t *testing.T) {
	in := pyflink.Schema{
		{Name: "n", Type: pyflink.BigInt}, {Name: "d", Type: pyflink.Date}, {Name: "l", Type: pyflink.ArrayOf(pyflink.String)}, {Name: "a", Type: whole},
	}
	ok := pyflink.UDF{Payload: pyflink.ScalarSource("lambda *x: 1"), Args: pyflink.Columns(3)}
	if _, err := pyflink.ByRow(in, ok); err != nil {
		t.Error(err)
	}
	for name, args := range map[string][]pyflink.Arg{
		"NULL": pyflink.Columns(3, 0), "times": pyflink.Columns(1), "arrays": pyflink.Columns(2), "no column": pyflink.Columns(4),
		"a call": {{Call: &ok}}, "a constant": {{Constant: []byte{0}}}, "nothing": nil,
	} {
		if _, err := pyflink.ByRow(in, pyflink.UDF{Payload: ok.Payload, Args: args}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := pyflink.ByRow(in, pyflink.UDF{Payload: ok.Payload, Args: ok.Args, TakesRow: true}); err == nil {
		t.Error("the whole row: no error")
	}
}
