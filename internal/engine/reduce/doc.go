// Package reduce is GroupByKey for one key at a time: it assigns values to the
// (merged) windows of the key, keeps them until the trigger fires, emits panes,
// holds the output watermark back for what is to come, and forgets windows that
// have expired. It is what Java's runners call ReduceFnRunner. It knows no
// other keys, no bundles and no clocks: all come in by Env.
//
// # State of a window
//
// Each window of a key has one record (record.go), kept from its first element
// until the watermark passes its expiry, and a bag of values (bag.go). A window
// whose trigger has finished is closed: its record stays as a tombstone, so that
// later elements are dropped, but it has no values, holds or pending panes and
// takes no part in merging. The global window, and all windows of a Replay, stay
// open: what comes after the trigger has finished waits for the expiry.
//
//	<prefix> r <length, window>           → record
//	<prefix> v <length, window> <seq>     → chunk of values; windows do not merge
//	<prefix> b <bag id> <seq>             → chunk of values; windows merge
//
// # Timers and holds
//
// Everything a window waits for is one event-time timer (its end, then its
// expiry), one processing-time timer (the first delay of its trigger) and one
// hold, owned by the window. After each look at a window, settle compares what
// it wants to what it has set, as the record remembers, and changes only that.
//
// The hold is the smallest of
//   - the combined timestamp of the elements that were in time, until the pane
//     that has them;
//   - the end of the window, if a pane can come there that would otherwise be
//     late: elements without a hold of their own, or an empty on-time pane;
//   - the expiry, if late elements wait for a pane, or the last pane is always
//     produced.
//
// # Invariants
//
//   - What happens depends on the state of a window and the clocks, never on
//     which timer came due. Big leaps of the watermark give one pane.
//   - A window passed its end if the watermark is after its maximum timestamp,
//     and has expired if the watermark is after its expiry.
//   - Panes of a window follow EARLY* ON_TIME? LATE*, with increasing index.
//   - A window that has expired, and every key that has only such windows,
//     leaves nothing in the store.
package reduce
