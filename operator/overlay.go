package operator

import (
	"bytes"
	"slices"
)

// merge makes of the base's keys behind after those that are there with the
// bundle's changes. A full page of the base may end before keys of the bundle's
// own; those come with the page they belong to.
func (c *cellOverlay) merge(base [][]byte, after []byte, limit int) [][]byte {
	keep := make([][]byte, 0, len(base))
	seen := map[string]bool{}
	for _, k := range base {
		own := c.keys[string(k)]
		if own == nil || !own.cleared || len(own.added) > 0 {
			keep = append(keep, k)
			seen[string(k)] = true
		}
	}
	for k, own := range c.keys {
		if len(own.added) > 0 && !seen[k] && (after == nil || k > string(after)) {
			keep = append(keep, []byte(k))
		}
	}
	slices.SortFunc(keep, bytes.Compare)
	if len(keep) > limit {
		keep = keep[:limit]
	}
	return keep
}

// commit hands the changes and timers to the backend.
func (o *overlay) commit(timers []Timer) error {
	if len(o.log) == 0 && len(timers) == 0 {
		return nil
	}
	return o.base.Commit(Commit{Changes: o.log, Timers: timers})
}
