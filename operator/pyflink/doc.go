// Package pyflink describes functions for the harness of PyFlink, as it comes
// from PyPI, so that another engine than Flink runs them through package
// operator.
//
//	in := pyflink.Schema{{"a", pyflink.BigInt}, {"b", pyflink.BigInt}}
//	out := pyflink.Schema{{"sum", pyflink.BigInt}}
//	f := pyflink.Scalar(in, out, pyflink.UDF{Payload: pickled, Args: pyflink.Columns(0, 1)})
//	pool, err := operator.NewPool(pyflink.Environment("python", "UTC"), operator.PoolOptions{})
//	op, err := pool.Open(ctx, f, operator.Limits{})
//
// A payload is what PyFlink pickles of a function; [ScalarSource] makes one of
// source text. Rows are written and read by [RowCoder] in the format of Flink's
// Python row coder; pandas functions take Arrow batches, see package
// operator/arrow.
//
// Field numbers and formats are those of org.apache.flink.fn_execution.v1 and of
// pyflink.fn_execution in PyFlink 2.3.
package pyflink
