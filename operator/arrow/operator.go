package arrow

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/pharos-beam/pharos/operator"
)

// Operator runs functions of batches. Flush, Checkpoint, Watermark, Metrics and
// Close are the operator's.
type Operator struct {
	*operator.Operator
}

// Open opens f on a pool.
func Open(ctx context.Context, p *operator.Pool, f operator.Function, l operator.Limits) (*Operator, error) {
	return OpenState(ctx, p, f, l, operator.NewMemory())
}

// OpenState is like Open for a function that keeps its state in b.
func OpenState(ctx context.Context, p *operator.Pool, f operator.Function, l operator.Limits, b operator.Backend) (*Operator, error) {
	o, err := p.OpenState(ctx, f, l, b)
	if err != nil {
		return nil, err
	}
	return &Operator{o}, nil
}

// Result is what the functions made of a batch.
type Result struct {
	// Tag is what Send was given.
	Tag any
	// Batch is the output. The caller releases it.
	Batch arrow.RecordBatch
	// Mark is set for Watermark and ProcessingTime; there is no batch then.
	Mark *operator.Mark
	// Err is why there is no batch.
	Err error
}

// Send takes a batch, which may be released at once; tag comes back with its
// result.
func (o *Operator) Send(ctx context.Context, b arrow.RecordBatch, tag any) error {
	data, err := Encode(b)
	if err != nil {
		return err
	}
	return o.Operator.Send(ctx, operator.Batch{Data: data, Elements: 1, Tag: tag})
}

// Receive returns the next result, in the order of Send.
func (o *Operator) Receive(ctx context.Context) (Result, error) {
	r, err := o.Operator.Receive(ctx)
	if err != nil {
		return Result{}, err
	}
	out := Result{Tag: r.Batch.Tag, Mark: r.Mark, Err: r.Err}
	if out.Err == nil && out.Mark == nil {
		out.Batch, out.Err = Decode(r.Data)
	}
	return out, nil
}

// Call sends a batch and waits for what the functions make of it. The caller
// releases the result.
func (o *Operator) Call(ctx context.Context, b arrow.RecordBatch) (arrow.RecordBatch, error) {
	data, err := Encode(b)
	if err != nil {
		return nil, err
	}
	r, err := o.Operator.Call(ctx, operator.Batch{Data: data, Elements: 1})
	if err != nil {
		return nil, err
	}
	return Decode(r.Data)
}
