// Package pipeline is the checked view of a Beam pipeline proto: what planning
// starts from.
//
// Validate either returns a Pipeline or, as a *Rejection, everything that is
// wrong with the proto at once. It never panics, whatever it is given.
//
// What holds for a Pipeline:
//   - every id that a transform, collection, coder, windowing strategy or
//     side input refers to exists, and coders do not contain themselves;
//   - every payload that the runner reads has been decoded;
//   - every leaf is run by the runner, or has an environment that runs it;
//   - a collection is produced by exactly one leaf, and there are no cycles;
//   - keyed inputs (grouping, combining, state, timers, multimaps) are KVs;
//   - window coders are global, interval or custom windows: any other one is
//     wrapped, so that the runner can tell where a window ends.
//
// This package does not optimise: SDFs, lifted combines and flattens are the
// business of package plan.
package pipeline
