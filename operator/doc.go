// Package operator runs user-defined functions of another engine in an SDK
// harness, over Beam's Fn API: the way in which PyFlink runs Python functions.
//
// An engine describes a [Function] (a URN, a payload, coders), says in which
// [Environment] its harness runs, and opens an [Operator] on a [Pool]:
//
//	pool, err := operator.NewPool(operator.Process("python", "-m", "pharos_beam.udf"), operator.PoolOptions{})
//	op, err := pool.Open(ctx, fn, operator.Limits{})
//	err = op.Send(ctx, operator.Batch{Data: rows, Elements: 1000})
//	result, err := op.Receive(ctx)
//
// [Operator.Send] takes batches, [Operator.Receive] gives the results in the
// order of the batches, each with its batch. [Operator.Flush] waits until
// everything sent is answered, [Operator.Checkpoint] also ends the bundles and
// makes state durable, as an engine's barrier wants it. [Operator.Call] is for
// engines that call a function and wait. Package operator/arrow has the same
// for Arrow record batches, package operator/row for rows of Go values, and
// package operator/pyflink describes functions of PyFlink.
//
// # Two ways of running
//
// A function without state whose output can be matched with its input (see
// [Match]) is run in streams: several bundles on several workers share the
// batches, results go out as soon as they are there, and a bundle may stay open
// for long. If a worker dies, the batches that were not answered are sent again
// to another; the function may see a batch twice, the engine gets its result
// once. If the function fails, each batch that was not answered is tried alone,
// so that only the one at fault gets the error.
//
// Any other function is run in transactions: one bundle after another. State,
// timers and output of a bundle take effect together when it has succeeded and its
// output is what was asked for. If a worker dies, nothing of the bundle has
// happened, and it is run again. If the function fails, the operator has failed for
// good; a [Backend] of [NewKV] that is made anew then has the state of the last
// Checkpoint, as it has after a crash.
//
// # Invariants
//
//   - Every batch that Send took is answered once, with a result or an error.
//   - Memory is bounded by [Limits]: a Send waits while the input and the results
//     that are on their way exceed them, until results have been received. What
//     was sent before that is still answered, however large its output.
//   - The bytes of a batch are not copied, and must not change until its result
//     has been received.
//   - No worker outlives its pool, nor this process, however that ends.
//
// The package imports the harness layer and the model, nothing else of Pharos.
package operator
