// Package trigger decides when a window's pane is due. A Machine is a trigger
// expression made ready to run; a State is how far one window of one key has
// got with it.
//
// It follows the trigger state machines of Beam's Java runners-core, with two
// deliberate differences: early and late firings start completely afresh after
// each firing (Java forgets to reset sub-triggers of composites there), and the
// clock has reached a delay when it is at, not only when it is after it.
//
// A Machine sets no timers. Instead it says when it wants to be asked again:
// Watches for the end of the window, Wakeup for processing time. Being asked
// too often does no harm.
//
// Invariants: a Machine never changes and may be shared; ShouldFire changes
// nothing; adding elements, merging and advancing clocks never panic in any
// composition; decode(encode(s)) equals s.
package trigger
