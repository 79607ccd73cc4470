package main

import (
	"context"
	"fmt"

	arr "github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
	"github.com/pharos-beam/pharos/operator/pyflink"
)

// rowsPerBatch is how many rows go into a batch by row.
const rowsPerBatch = 20_000

// ab are two BIGINT columns.
var ab = pyflink.Schema{{Name: "a", Type: pyflink.BigInt}, {Name: "b", Type: pyflink.BigInt}}

// add is the function.
var add = pyflink.UDF{Payload: pyflink.ScalarSource("lambda a, b: a + b"), Args: pyflink.Columns(0, 1)}

// flinkPool is a pool of workers of PyFlink's harness.
func (s *settings) flinkPool() (*operator.Pool, error) {
	return operator.NewPool(pyflink.Environment(s.python("pyflink"), "UTC"), operator.PoolOptions{Workers: s.workers})
}

// rowMode measures add by row.
func rowMode(ctx context.Context, s *settings) error {
	pool, err := s.flinkPool()
	if err != nil {
		return err
	}
	defer pool.Close()
	op, err := pool.Open(ctx, pyflink.Scalar(ab, ab[:1], add), operator.Limits{Bundles: s.bundles * s.workers, BundleElements: s.bundle})
	if err != nil {
		return err
	}
	defer op.Close()
	for range s.repeat + 1 {
		m := start(s.rows)
		if err := through(ctx, op, s.rows, rowsPerBatch, sendRows, checkRows); err != nil {
			return err
		}
		m.report("PyFlink harness, row")
	}
	return nil
}

// through sends all rows in batches and checks what comes back.
func through(ctx context.Context, op *operator.Operator, rows, size int64,
	send func(from, n int64) (operator.Batch, error), check func(from int64, data []byte) error) error {
	sent := make(chan error, 1)
	go func() {
		var err error
		for from := int64(0); from < rows && err == nil; from += size {
			var b operator.Batch
			if b, err = send(from, min(size, rows-from)); err == nil {
				b.Tag = from
				err = op.Send(ctx, b)
			}
		}
		if err == nil {
			err = op.Flush(ctx)
		}
		sent <- err
	}()
	for from := int64(0); from < rows; from += size {
		r, err := op.Receive(ctx)
		if err == nil {
			err = r.Err
		}
		if err == nil {
			err = check(r.Batch.Tag.(int64), r.Data)
		}
		if err != nil {
			return err
		}
	}
	return <-sent
}

func sendRows(from, n int64) (operator.Batch, error) {
	w := pyflink.NewRowWriter(2)
	w.Data = make([]byte, 0, n*18)
	for i := from; i < from+n; i++ {
		w.Begin()
		w.Int64(i)
		w.Int64(7*i + 3)
		w.End()
	}
	return operator.Batch{Data: w.Data, Elements: n}, nil
}

func checkRows(from int64, data []byte) error {
	r := pyflink.NewRowReader(1, data)
	for r.Next() {
		if v, ok := r.Int64(); !ok || v != 8*from+3 {
			return fmt.Errorf("the sum of row %d is %d", from, v)
		}
		from++
	}
	return r.Err()
}

// pandasMode measures a vectorised add.
func pandasMode(ctx context.Context, s *settings) error {
	return s.arrowMode(ctx, "PyFlink harness, pandas", 4*s.rows, pyflink.Pandas(ab, ab[:1], add), sendArrow)
}

// byRowMode measures add by row, with the rows in Arrow batches.
func byRowMode(ctx context.Context, s *settings) error {
	f, err := pyflink.ByRow(ab, ab[:1], add)
	if err != nil {
		return err
	}
	return s.arrowMode(ctx, "PyFlink harness, row in Arrow", s.rows, f.Function, func(from, n int64) (operator.Batch, error) {
		b, err := f.Batch(numbers(from, n))
		if err != nil {
			return operator.Batch{}, err
		}
		data, err := arrow.Encode(b)
		return operator.Batch{Data: data, Elements: 1}, err
	})
}

func (s *settings) arrowMode(ctx context.Context, name string, rows int64, f operator.Function,
	send func(from, n int64) (operator.Batch, error)) error {
	pool, err := s.flinkPool()
	if err != nil {
		return err
	}
	defer pool.Close()
	op, err := pool.Open(ctx, f, operator.Limits{Bundles: s.bundles * s.workers, BundleElements: 16})
	if err != nil {
		return err
	}
	defer op.Close()
	for range s.repeat + 1 {
		m := start(rows)
		if err := through(ctx, op, rows, 10_000, send, checkArrow); err != nil {
			return err
		}
		m.report(name)
	}
	return nil
}

var schema = arr.NewSchema([]arr.Field{
	{Name: "a", Type: arr.PrimitiveTypes.Int64, Nullable: true}, {Name: "b", Type: arr.PrimitiveTypes.Int64, Nullable: true},
}, nil)

// numbers are the input as a record batch.
func numbers(from, n int64) arr.RecordBatch {
	a, b := make([]int64, n), make([]int64, n)
	for i := range a {
		a[i], b[i] = from+int64(i), 7*(from+int64(i))+3
	}
	column := func(v []int64) arr.Array {
		buffers := []*memory.Buffer{nil, memory.NewBufferBytes(arr.Int64Traits.CastToBytes(v))}
		return array.NewInt64Data(array.NewData(arr.PrimitiveTypes.Int64, len(v), buffers, nil, 0, 0))
	}
	return array.NewRecordBatch(schema, []arr.Array{column(a), column(b)}, n)
}

func sendArrow(from, n int64) (operator.Batch, error) {
	data, err := arrow.Encode(numbers(from, n))
	return operator.Batch{Data: data, Elements: 1}, err
}

func checkArrow(from int64, data []byte) error {
	b, err := arrow.Decode(data)
	if err != nil {
		return err
	}
	defer b.Release()
	for i, v := range b.Column(0).(*array.Int64).Int64Values() {
		if want := 8*(from+int64(i)) + 3; v != want {
			return fmt.Errorf("the sum of row %d is %d", from+int64(i), v)
		}
	}
	return nil
}
