package arrow_test

import (
	"context"
	"testing"
	"time"

	arr "github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
	"github.com/pharos-beam/pharos/operator/operatortest"
)

const source = `
import pyarrow.compute as pc
from pharos_beam import udf

@udf.arrow(returns='int64')
def add(a, b):
    return pc.add(a, b)

@udf.scalar
def slow(a: int, b: int) -> int:
    return None if a is None or b is None else a + b
`

func numbers(from, n int64) arr.RecordBatch {
	schema := arr.NewSchema([]arr.Field{{Name: "a", Type: arr.PrimitiveTypes.Int64, Nullable: true}, {Name: "b", Type: arr.PrimitiveTypes.Int64, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := from; i < from+n; i++ {
		b.Field(0).(*array.Int64Builder).Append(i)
		if i%10 == 0 {
			b.Field(1).(*array.Int64Builder).AppendNull()
		} else {
			b.Field(1).(*array.Int64Builder).Append(2 * i)
		}
	}
	return b.NewRecordBatch()
}

func checkSum(t *testing.T, b arr.RecordBatch, column int, from, n int64) {
	t.Helper()
	c := b.Column(column).(*array.Int64)
	if int64(c.Len()) != n {
		t.Fatalf("%d rows, want %d", c.Len(), n)
	}
	for i := range c.Len() {
		switch v := from + int64(i); {
		case v%10 == 0 && !c.IsNull(i):
			t.Fatalf("row %d is %d, want null", v, c.Value(i))
		case v%10 != 0 && (c.IsNull(i) || c.Value(i) != 3*v):
			t.Fatalf("row %d is %v", v, c.ValueStr(i))
		}
	}
}

func TestFunctions(t *testing.T) {
	pool := operatortest.Pool(t, operator.PoolOptions{Workers: 2})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	f := arrow.Function(arrow.Call{Function: "add", Source: source}, arrow.Call{Function: "slow", Source: source, As: "slow"})
	op, err := arrow.Open(ctx, pool, f, operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	const batches, rows = 40, 100
	go func() {
		for i := range int64(batches) {
			if err := op.Send(ctx, numbers(i*rows, rows), i); err != nil {
				t.Error(err)
			}
		}
	}()
	for i := range int64(batches) {
		r, err := op.Receive(ctx)
		if err != nil || r.Err != nil {
			t.Fatal(err, r.Err)
		}
		if r.Tag != i {
			t.Fatalf("batch %v, want %d", r.Tag, i)
		}
		checkSum(t, r.Batch, 0, i*rows, rows)
		checkSum(t, r.Batch, 1, i*rows, rows)
	}
}
