package job

import "time"

// SetSplitTimeout changes how long a harness may take to answer a split, and
// returns what undoes that.
func SetSplitTimeout(d time.Duration) (undo func()) {
	old := splitTimeout
	splitTimeout = d
	return func() { splitTimeout = old }
}
