package plan

import (
	"slices"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// pageIterables finds the GroupByKeys whose panes may be state-backed: the
// values of a large one then stay with the runner, and the SDK reads them page
// by page. All that reads the output must be SDK transforms that take it from
// the data stream, in environments that say they understand the coder.
func (g *graph) pageIterables() {
	for _, n := range g.nodes {
		if n.kind == pipeline.GroupByKey && len(n.outs) == 1 && g.pageable(n.outs[0].Collection) {
			g.paged[n.outs[0].Collection] = true
		}
	}
}

func (g *graph) pageable(collection string) bool {
	for _, m := range g.merges {
		if slices.Contains(m.ins, collection) {
			return false
		}
	}
	readers := 0
	for _, n := range g.nodes {
		for _, side := range n.sides {
			if side.Collection == collection {
				return false
			}
		}
		if n.in.Collection != collection {
			continue
		}
		env := g.p.Environment(n.env)
		if n.kind == pipeline.GroupByKey || n.env == "" || !slices.Contains(env.GetCapabilities(), urn.CoderStateBackedIterable) {
			return false
		}
		readers++
	}
	return readers > 0
}
