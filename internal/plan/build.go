package plan

import (
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// Options of Build. The zero value is what users get; the rest exists for
// tests, which compare results with and without each optimisation.
type Options struct {
	// NoFusion makes a stage of every transform, but for those that cannot be
	// parted.
	NoFusion bool
	// NoLifting expands combines as the SDK gave them.
	NoLifting bool
	// Strategy forces how GroupByKeys group, where that strategy gives right
	// results; 0 chooses.
	Strategy Strategy
}

// Build makes an execution plan for a checked pipeline. The same pipeline
// always gives the same plan.
//
// It first turns the leaves into a graph of what has to be executed (graph.go:
// SDFs in sdf.go, combines in lift.go), then takes flattens and redistributions
// out of it (flatten.go), groups what remains into stages (fuse.go), and
// finally writes down the stages (assemble.go, descriptor.go).
func Build(p *pipeline.Pipeline, o Options) (*Plan, error) {
	g, err := newGraph(p, o)
	if err != nil {
		return nil, err
	}
	if err := g.sinkFlattens(); err != nil {
		return nil, err
	}
	if err := g.sort(); err != nil {
		return nil, err
	}
	g.pageIterables()
	return assemble(g, fuse(g))
}
