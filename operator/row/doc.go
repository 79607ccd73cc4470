// Package row is the front of package operator for rows of Go values:
//
//	op, err := row.Open(ctx, pool, arrow.Function(arrow.Call{Function: "m:add"}), operator.Limits{},
//		row.Column{"a", row.Int64}, row.Column{"b", row.Int64})
//	sums, err := op.Call(ctx, [][]any{{int64(1), int64(2)}, {int64(3), nil}})
//
// Rows travel as Arrow batches, for one call of the harness with many rows is
// much cheaper than many calls with one.
package row
