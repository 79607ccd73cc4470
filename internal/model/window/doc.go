// Package window understands windowing strategies as far as a runner must: how
// windows are encoded, when they end and expire, which output timestamp a pane
// gets, and how sessions merge. It does not assign windows, and it does not
// merge windows of a user's WindowFn: the SDK does both.
//
// A window is always handled as its encoding. Two windows are the same if and
// only if their encodings are equal.
//
// Invariants: MaxTimestamp depends on the encoding alone; everything here is
// deterministic, and bytes from an SDK produce an error, never a panic.
package window
