//go:build duckdb_arrow

package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"

	arr "github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	duckdb "github.com/duckdb/duckdb-go/v2"

	"github.com/pharos-beam/pharos/operator/arrow"
)

// batchRows is how many rows go to the function at a time.
const batchRows = 32 << 10

// wholeResults sends the result of a query through the function and queries
// what comes back.
func wholeResults(ctx context.Context, op *arrow.Operator, rows int64, repeat, threads int) error {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, fmt.Sprintf("SET threads = %d", threads)); err != nil {
		return err
	}
	return conn.Raw(func(c any) error {
		duck, err := duckdb.NewArrowFromConn(c.(driver.Conn))
		if err != nil {
			return err
		}
		for range repeat {
			start := time.Now()
			sum, err := through(ctx, duck, op, rows)
			if err != nil {
				return err
			}
			if err := report("arrow", rows, sum, time.Since(start)); err != nil {
				return err
			}
		}
		return nil
	})
}

// through runs one query, the function, and a query of its results.
func through(ctx context.Context, duck *duckdb.Arrow, op *arrow.Operator, rows int64) (int64, error) {
	in, err := duck.QueryContext(ctx, fmt.Sprintf("SELECT i AS a, 7 * i + 3 AS b FROM range(%d) t(i)", rows))
	if err != nil {
		return 0, err
	}
	defer in.Release()
	sent := make(chan error, 1)
	go func() { sent <- send(ctx, op, in) }()
	out, err := receive(ctx, op, sent)
	if err != nil {
		return 0, err
	}
	schema := arr.NewSchema([]arr.Field{{Name: "py_add", Type: arr.PrimitiveTypes.Int64, Nullable: true}}, nil)
	view, err := array.NewRecordReader(schema, out)
	if err != nil {
		return 0, err
	}
	defer view.Release()
	release, err := duck.RegisterView(view, "results")
	if err != nil {
		return 0, err
	}
	defer release()
	total, err := duck.QueryContext(ctx, "SELECT sum(py_add)::BIGINT FROM results")
	if err != nil {
		return 0, err
	}
	defer total.Release()
	if !total.Next() {
		return 0, total.Err()
	}
	return total.RecordBatch().Column(0).(*array.Int64).Value(0), nil
}

// send sends all batches, small ones together, and then an empty one.
func send(ctx context.Context, op *arrow.Operator, in array.RecordReader) error {
	var some []arr.RecordBatch
	var n int64
	flush := func(last bool) error {
		if n == 0 {
			return nil
		}
		b, err := joined(some)
		if err != nil {
			return err
		}
		defer b.Release()
		for _, s := range some {
			s.Release()
		}
		some, n = nil, 0
		return op.Send(ctx, b, last)
	}
	for in.Next() {
		b := in.RecordBatch()
		if n+b.NumRows() > batchRows {
			if err := flush(false); err != nil {
				return err
			}
		}
		b.Retain()
		some = append(some, b)
		n += b.NumRows()
	}
	if in.Err() != nil {
		return in.Err()
	}
	return flush(true)
}

// joined makes one batch of several.
func joined(batches []arr.RecordBatch) (arr.RecordBatch, error) {
	columns := make([]arr.Array, batches[0].NumCols())
	var n int64
	for i := range columns {
		parts := make([]arr.Array, len(batches))
		for j, b := range batches {
			parts[j] = b.Column(i)
		}
		var err error
		if columns[i], err = array.Concatenate(parts, memory.DefaultAllocator); err != nil {
			return nil, err
		}
		n = int64(columns[i].Len())
	}
	return array.NewRecordBatch(batches[0].Schema(), columns, n), nil
}

// receive takes results until the one whose batch was the last.
func receive(ctx context.Context, op *arrow.Operator, sent <-chan error) ([]arr.RecordBatch, error) {
	var out []arr.RecordBatch
	for {
		r, err := op.Receive(ctx)
		if err == nil {
			err = r.Err
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r.Batch)
		if r.Tag == true {
			return out, <-sent
		}
	}
}
