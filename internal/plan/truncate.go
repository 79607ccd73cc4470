package plan

import (
	"fmt"
	"slices"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// Truncation is what a splittable stage does to its restrictions when its job
// is drained, before they are processed: the DoFn shortens each to what still
// has to be done, by default nothing if the restriction is unbounded and all if
// it is not (beam:transform:sdf_truncate_sized_restrictions:v1).
type Truncation struct {
	// Descriptor, as that of a stage. The transform has the id of the one that
	// processes, so that side inputs and metrics are found under it.
	Descriptor *fnpb.ProcessBundleDescriptor
	InputPort  string
	OutputPort string // what comes out is input of the stage
}

// describeTruncation makes the Truncation of a splittable stage.
func (a *assembler) describeTruncation(s *Stage, c *cut) error {
	if !s.Splittable || !slices.Contains(a.plan.Environments[s.Environment].GetCapabilities(), urn.SDFTruncateSizedRestrictions) {
		return nil
	}
	process := c.nodes[0]
	out := *s.Input
	out.ID = a.g.newCollection(process.id+"/truncated", s.Input.ID, s.Input.inner)
	n := *process
	n.name, n.urn, n.proto = process.name+"/Truncate", urn.SDFTruncateSizedRestrictions, nil
	n.outs = []pipeline.Port{{Local: "i0", Collection: out.ID}}

	b := newDescriptor(a, fmt.Sprintf("truncate-%d", s.Index))
	t, err := b.transform(s, &n)
	if err != nil {
		return fmt.Errorf("transform %q: %w", n.name, err)
	}
	b.d.Transforms[n.id] = t
	b.collection(s.Input.ID, s.Input.inner)
	b.collection(out.ID, s.Input.inner)
	for _, side := range s.SideInputs {
		if side.Transform == n.id {
			b.collection(side.Collection.ID, side.Collection.Coder)
		}
	}
	s.Truncation = &Truncation{
		InputPort:  a.g.newID(fmt.Sprintf("truncate-source-%d", s.Index)),
		OutputPort: a.g.newID(fmt.Sprintf("truncate-sink-%d", s.Index)),
	}
	if err := b.source(s.Truncation.InputPort, s.Input); err != nil {
		return err
	}
	if err := b.sink(s.Truncation.OutputPort, &out); err != nil {
		return err
	}
	s.Truncation.Descriptor = b.finish(s)
	return nil
}
