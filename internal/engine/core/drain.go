package core

import (
	"sort"

	"github.com/pharos-beam/pharos/internal/plan"
)

// Draining ends a job without losing what it has read: sources put out no more
// than they must, and then the watermark goes to the end by itself and flushes
// all that waits for it.
//
// The restrictions of a splittable stage, be they queued, resting or given back
// by a bundle, are truncated by their DoFn, each once, before they are
// processed. Bundles that run are asked to checkpoint, so that theirs are too.
// The events that a TestStream has left are dropped.
func (c *Core) drain() {
	if c.draining {
		return
	}
	c.draining = true
	for _, s := range c.stages {
		if s.plan.Kind == plan.TestStream {
			c.endTestStream(s)
		}
	}
	for _, b := range c.untruncated() {
		c.askSplit(b, 0, false)
	}
}

// untruncated returns the running bundles that process what has not been
// truncated, in order.
func (c *Core) untruncated() []*bundle {
	var all []*bundle
	for _, b := range c.bundles {
		if b.state == running && b.stage.plan.Splittable && !b.truncates && !b.truncated {
			all = append(all, b)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].id < all[j].id })
	return all
}

// truncates says whether the item has to be truncated before it is processed.
func (c *Core) truncates(s *stage, it *item) bool {
	return c.draining && s.plan.Splittable && !it.Truncated
}
