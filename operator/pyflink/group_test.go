package pyflink_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/pyflink"
)

// wide is an input of many columns, grouped by the first and one far behind.
func wide(aggregates ...pyflink.Aggregate) *pyflink.Group {
	g := &pyflink.Group{Keys: []int{0, 200}, Results: ab[:1], Aggregates: aggregates}
	for i := range 300 {
		g.Input = append(g.Input, pyflink.Field{Name: fmt.Sprintf("c%d", i), Type: pyflink.BigInt})
	}
	return g
}

// The numbers of key columns are whole numbers in the payload, not bytes.
func TestKeysFarBehind(t *testing.T) {
	payload := wide().Function(false).Payload
	var keys []uint64
	for len(payload) > 0 {
		field, kind, n := protowire.ConsumeTag(payload)
		payload = payload[n:]
		if field == 3 && kind == protowire.BytesType {
			packed, _ := protowire.ConsumeBytes(payload)
			for len(packed) > 0 {
				k, n := protowire.ConsumeVarint(packed)
				if n < 0 {
					t.Fatal(protowire.ParseError(n))
				}
				keys, packed = append(keys, k), packed[n:]
			}
		}
		payload = payload[protowire.ConsumeFieldValue(field, kind, payload):]
	}
	if !slices.Equal(keys, []uint64{0, 200}) {
		t.Fatal(keys)
	}
}

// The harness groups by them.
func TestGroupByAColumnFarBehind(t *testing.T) {
	const sum = `(lambda names: (exec('''
from pyflink.table import AggregateFunction
class Sum(AggregateFunction):
    def create_accumulator(self): return [0]
    def get_value(self, a): return a[0]
    def accumulate(self, a, v): a[0] += v
''', names), names['Sum']())[1])({})`
	g := wide(pyflink.Aggregate{Payload: pyflink.Source(sum), Args: pyflink.Columns(299)})
	op := open(t, pool(t, operator.PoolOptions{}), g.Function(false))
	row := func(a, b, v int64) pyflink.Row {
		r := pyflink.Row{Fields: make([]any, len(g.Input))}
		r.Fields[0], r.Fields[200], r.Fields[299] = a, b, v
		return r
	}
	b, err := g.Batch(row(1, 1, 10), row(1, 2, 20), row(1, 1, 30))
	if err != nil {
		t.Fatal(err)
	}
	r, err := op.Call(deadline(t), b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := g.Read(r.Data)
	if err != nil {
		t.Fatal(err)
	}
	want := []pyflink.Row{pyflink.Values(int64(1), int64(1), int64(40)), pyflink.Values(int64(1), int64(2), int64(20))}
	same(t, sorted(got), sorted(want))
}
