package layout

import (
	"fmt"
	"maps"
	"slices"
)

// Add counts one more thing of some bytes.
func (a *Amount) Add(count, bytes int64) {
	a.Count += count
	a.Bytes += bytes
}

// text says how much it is: "3 rows (24 bytes)".
func (a Amount) text(noun string) string {
	if a.Count != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s (%d bytes)", a.Count, noun, a.Bytes)
}

// Total is what is there in all.
func (c *Content) Total() Amount {
	all := c.keyed()
	all.Add(c.Queue.Count, c.Queue.Bytes)
	for _, a := range c.Sides {
		all.Add(a.Count, a.Bytes)
	}
	return all
}

// keyed is what is kept by key.
func (c *Content) keyed() Amount {
	all := c.Grouped
	all.Add(c.Sorted.Count, c.Sorted.Bytes)
	for _, m := range []map[string]Amount{c.States, c.Timers} {
		for _, a := range m {
			all.Add(a.Count, a.Bytes)
		}
	}
	return all
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
