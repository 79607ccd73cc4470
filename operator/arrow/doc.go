// Package arrow is the front of package operator for Arrow record batches: an
// element is a batch, and gives a batch.
//
//	f := arrow.Function(arrow.Call{Function: "mymodule:add"})
//	op, err := arrow.Open(ctx, pool, f, operator.Limits{})
//	sum, err := op.Call(ctx, batch)
//
// The functions are Python's, written with the decorators of pharos_beam.udf,
// and run by its worker, `python -m pharos_beam.udf`.
package arrow
