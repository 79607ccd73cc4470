package job

import "time"

// SetSplitTimeout changes how long a harness may take to answer a split, and
// returns what undoes that.
func SetSplitTimeout(d time.Duration) (undo func()) {
	old := splitTimeout
	splitTimeout = d
	return func() { splitTimeout = old }
}

// SetSweepFrom changes how many bytes of pages are looked through first, and
// returns what undoes that.
func SetSweepFrom(n int64) (undo func()) {
	old := sweepFrom
	sweepFrom = n
	return func() { sweepFrom = old }
}
