package pipeline

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
)

// Leaves returns the transforms that are left when composites have been opened
// up, each after those whose output it reads, otherwise in the order of the
// pipeline. A Combine for which open returns true is opened up too, if it has
// subtransforms.
func (p *Pipeline) Leaves(open func(combine *Transform) bool) ([]*Transform, error) {
	var leaves []*Transform
	var walk func(ts []*Transform)
	walk = func(ts []*Transform) {
		for _, t := range ts {
			switch {
			case t.Kind == Composite, t.Kind == Combine && len(t.Children) > 0 && open(t):
				walk(t.Children)
			case t.Kind != NoOp:
				leaves = append(leaves, t)
			}
		}
	}
	walk(p.Roots)
	return sortLeaves(leaves)
}

// sortLeaves sorts topologically. The error says which collections have no
// producer, or two, or which transforms form a cycle.
func sortLeaves(leaves []*Transform) ([]*Transform, error) {
	producer, err := producers(leaves)
	if err != nil {
		return nil, err
	}
	var missing []string
	waits := make([]int, len(leaves))     // inputs that are not there yet
	readers := make([][]int, len(leaves)) // by producer
	for i, t := range leaves {
		for _, in := range slices.Concat(t.Inputs, t.Sides) {
			from, ok := producer[in.Collection]
			if !ok {
				missing = append(missing, fmt.Sprintf("transform %q: no transform produces its input %q (PCollection %q)", t.Name, in.Local, in.Collection))
				continue
			}
			waits[i]++
			readers[from] = append(readers[from], i)
		}
	}
	if missing != nil {
		return nil, &Rejection{Reasons: missing}
	}
	return drain(leaves, waits, readers)
}

func producers(leaves []*Transform) (map[string]int, error) {
	producer := map[string]int{}
	var twice []string
	for i, t := range leaves {
		for _, out := range t.Outputs {
			if other, ok := producer[out.Collection]; ok {
				twice = append(twice, fmt.Sprintf("PCollection %q is produced by %q and by %q", out.Collection, leaves[other].Name, t.Name))
				continue
			}
			producer[out.Collection] = i
		}
	}
	if twice != nil {
		return nil, &Rejection{Reasons: twice}
	}
	return producer, nil
}

// drain takes out leaves that wait for nothing, the earliest first.
func drain(leaves []*Transform, waits []int, readers [][]int) ([]*Transform, error) {
	ready := &intHeap{}
	for i := range leaves {
		if waits[i] == 0 {
			heap.Push(ready, i)
		}
	}
	sorted := make([]*Transform, 0, len(leaves))
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int)
		sorted = append(sorted, leaves[i])
		for _, r := range readers[i] {
			if waits[r]--; waits[r] == 0 {
				heap.Push(ready, r)
			}
		}
	}
	if len(sorted) == len(leaves) {
		return sorted, nil
	}
	var names []string
	for i, t := range leaves {
		if waits[i] > 0 {
			names = append(names, fmt.Sprintf("%q", t.Name))
		}
	}
	return nil, &Rejection{Reasons: []string{"transforms wait for each other's output in a cycle, or for the cycle's: " + strings.Join(names, ", ")}}
}

type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
