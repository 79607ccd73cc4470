// Package sim runs whole jobs, made up from a seed, and compares what comes out
// with a naive oracle.
//
// A seed gives a pipeline with its input, a configuration, and everything that
// happens: which bundle goes on, where it is split, which attempt fails, which
// worker dies, how commits are grouped, how the clock jumps. The plan, the core,
// the tables, the store, the spool, the grouping engine and the execution of
// bundles are the product's own; the SDK is one in this process that does one
// element at a time. All of it runs on one goroutine at a time, so a seed is
// enough to see a run again, with a trace.
//
// # What is checked
//
//   - What reaches a check node, over committed attempts only, is what the
//     oracle computes from the input: exactly where that is determined, otherwise
//     what came in less what was counted as dropped.
//   - Panes of a window follow EARLY* ON_TIME? LATE*, numbered, never before
//     their time; accumulating panes repeat those before them.
//   - Timers fire once, at the time they were last set to, not before it, and not
//     when they were cleared.
//   - Watermarks never fall, output is never beyond input, and, if no source is
//     late, nothing comes out behind an output watermark.
//   - A durable job that was restarted, and one that was drained, give what they
//     would have given, of all that their sources had put out.
//   - Attempts that failed, answers that came late or twice leave no trace; the
//     job ends; no block and no state of a window that has expired is left.
//
// # How to read it
//
// pipe.go says what a pipeline is made of, generate.go makes one up, oracle.go
// computes its result. sdk.go, dofn.go, timer.go and sdf.go execute it: an
// attempt is a coroutine (task.go), so that between any two elements something
// else may happen. world.go is the loop, fault.go what goes wrong, check.go what
// must hold all the same, and metamorphic.go runs one job in many ways.
package sim
