package pipeline

import (
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
	after := make([][]int, len(leaves))
	for i, t := range leaves {
		for _, in := range slices.Concat(t.Inputs, t.Sides) {
			from, ok := producer[in.Collection]
			if !ok {
				missing = append(missing, fmt.Sprintf("transform %q: no transform produces its input %q (PCollection %q)", t.Name, in.Local, in.Collection))
				continue
			}
			after[i] = append(after[i], from)
		}
	}
	if missing != nil {
		return nil, &Rejection{Reasons: missing}
	}
	sorted := make([]*Transform, 0, len(leaves))
	for _, i := range Order(after) {
		sorted = append(sorted, leaves[i])
	}
	if len(sorted) < len(leaves) {
		return nil, &Rejection{Reasons: []string{"transforms wait for each other's output in a cycle, or for that of a cycle: " + names(leaves, sorted)}}
	}
	return sorted, nil
}

// names lists the leaves that are not among sorted.
func names(leaves, sorted []*Transform) string {
	var names []string
	for _, t := range leaves {
		if !slices.Contains(sorted, t) {
			names = append(names, fmt.Sprintf("%q", t.Name))
		}
	}
	return strings.Join(names, ", ")
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
