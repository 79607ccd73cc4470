package row_test

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
	"github.com/pharos-beam/pharos/operator/operatortest"
	"github.com/pharos-beam/pharos/operator/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const source = `
from pharos_beam import udf

@udf.scalar
def describe(i: int, f: float, b: bool, s: str, y: bytes, t) -> str:
    return repr((i, f, b, s, y, t and t.isoformat()))

@udf.scalar(returns='timestamp[us]')
def later(i, f, b, s, y, t):
    import datetime
    return t and t.replace(tzinfo=None) + datetime.timedelta(days=1)
`

func TestRows(t *testing.T) {
	p := operatortest.Pool(t, operator.PoolOptions{})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	f := arrow.Function(arrow.Call{Function: "describe", Source: source}, arrow.Call{Function: "later", Source: source})
	op, err := row.Open(ctx, p, f, operator.Limits{},
		row.Column{Name: "i", Type: row.Int64}, row.Column{Name: "f", Type: row.Float64}, row.Column{Name: "b", Type: row.Bool},
		row.Column{Name: "s", Type: row.String}, row.Column{Name: "y", Type: row.Bytes}, row.Column{Name: "t", Type: row.Time})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	at := time.Date(2024, 2, 28, 1, 2, 3, 4000, time.UTC)
	got, err := op.Call(ctx, [][]any{{1, 2.5, true, "x", []byte{0, 1}, at}, {nil, nil, nil, nil, nil, nil}})
	want := [][]any{
		{`(1, 2.5, True, 'x', b'\x00\x01', '2024-02-28T01:02:03.000004+00:00')`, at.AddDate(0, 0, 1)},
		{`(None, None, None, None, None, None)`, nil},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatal(err, got)
	}
	if _, err := op.Call(ctx, [][]any{{1, "2.5", true, "x", nil, at}}); err == nil {
		t.Fatal("a string is no float")
	}
	if err := op.Send(ctx, [][]any{{1, 1.0, true, "x", nil, nil}}, "tag"); err != nil {
		t.Fatal(err)
	}
	r, err := op.Receive(ctx)
	if err != nil || r.Err != nil || r.Tag != "tag" || len(r.Rows) != 1 {
		t.Fatal(err, r)
	}
}

const sum = `
from pharos_beam import udf

@udf.aggregate(returns='int64')
class Sum(udf.Aggregate):
    def create(self):
        return 0
    def accumulate(self, total, v):
        return total + v
    def result(self, total):
        return total
`

// The state of an operator of rows is where its engine wants it.
func TestState(t *testing.T) {
	p := operatortest.Pool(t, operator.PoolOptions{})
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	state := operator.NewMemory()
	for round := range int64(2) {
		op, err := row.OpenState(ctx, p, arrow.Running([]int{0}, arrow.Call{Function: "Sum", Source: sum, Args: []int{1}}), operator.Limits{}, state,
			row.Column{Name: "key", Type: row.String}, row.Column{Name: "n", Type: row.Int64})
		if err != nil {
			t.Fatal(err)
		}
		got, err := op.Call(ctx, [][]any{{"a", 1}, {"b", 2}, {"a", 3}})
		if want := [][]any{{"a", 4 * (round + 1)}, {"b", 2 * (round + 1)}}; err != nil || !reflect.DeepEqual(got, want) {
			t.Fatal(err, got)
		}
		if _, err := op.Call(ctx, [][]any{{"\xff", 1}}); err == nil || !strings.Contains(err.Error(), "UTF-8") {
			t.Fatalf("error %v", err)
		}
		op.Close()
	}
}
