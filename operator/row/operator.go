package row

import (
	"context"
	"fmt"

	arr "github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
)

// Operator runs functions of rows. Flush, Checkpoint, Metrics and Close are the
// operator's.
type Operator struct {
	*arrow.Operator
	schema *arr.Schema
}

// Open opens f, which package arrow describes, for rows with the columns.
func Open(ctx context.Context, p *operator.Pool, f operator.Function, l operator.Limits, columns ...Column) (*Operator, error) {
	return OpenState(ctx, p, f, l, operator.NewMemory(), columns...)
}

// OpenState is like Open for a function that keeps its state in b.
func OpenState(ctx context.Context, p *operator.Pool, f operator.Function, l operator.Limits, b operator.Backend, columns ...Column) (*Operator, error) {
	s, err := schema(columns)
	if err != nil {
		return nil, err
	}
	o, err := arrow.OpenState(ctx, p, f, l, b)
	if err != nil {
		return nil, err
	}
	return &Operator{o, s}, nil
}

// Result is what the functions made of rows.
type Result struct {
	// Tag is what Send was given.
	Tag any
	// Rows are the rows that came out.
	Rows [][]any
	// Mark is set for Watermark and ProcessingTime.
	Mark *operator.Mark
	// Err is why there are no rows.
	Err error
}

// Send takes rows; tag comes back with their result.
func (o *Operator) Send(ctx context.Context, rows [][]any, tag any) error {
	b, err := o.batch(rows)
	if err != nil {
		return err
	}
	defer b.Release()
	return o.Operator.Send(ctx, b, tag)
}

// Receive returns the next result, in the order of Send.
func (o *Operator) Receive(ctx context.Context) (Result, error) {
	r, err := o.Operator.Receive(ctx)
	if err != nil {
		return Result{}, err
	}
	out := Result{Tag: r.Tag, Mark: r.Mark, Err: r.Err}
	if r.Batch != nil {
		defer r.Batch.Release()
		out.Rows, out.Err = rowsOf(r.Batch)
	}
	return out, nil
}

// Call sends rows and waits for what comes out.
func (o *Operator) Call(ctx context.Context, rows [][]any) ([][]any, error) {
	b, err := o.batch(rows)
	if err != nil {
		return nil, err
	}
	defer b.Release()
	out, err := o.Operator.Call(ctx, b)
	if err != nil {
		return nil, err
	}
	defer out.Release()
	return rowsOf(out)
}

// batch makes a record batch of rows.
func (o *Operator) batch(rows [][]any) (arr.RecordBatch, error) {
	b := array.NewRecordBuilder(memory.DefaultAllocator, o.schema)
	defer b.Release()
	b.Reserve(len(rows))
	for i, r := range rows {
		if len(r) != o.schema.NumFields() {
			return nil, fmt.Errorf("row %d has %d values for %d columns", i, len(r), o.schema.NumFields())
		}
		for j, v := range r {
			if err := put(b.Field(j), v); err != nil {
				return nil, fmt.Errorf("row %d, column %s: %w", i, o.schema.Field(j).Name, err)
			}
		}
	}
	return b.NewRecordBatch(), nil
}

// rowsOf makes rows of a record batch.
func rowsOf(b arr.RecordBatch) ([][]any, error) {
	rows := make([][]any, b.NumRows())
	for i := range rows {
		rows[i] = make([]any, b.NumCols())
		for j, c := range b.Columns() {
			v, err := get(c, i)
			if err != nil {
				return nil, fmt.Errorf("column %s: %w", b.ColumnName(j), err)
			}
			rows[i][j] = v
		}
	}
	return rows, nil
}
