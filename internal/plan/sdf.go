package plan

import (
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// expandSDF adds the three parts of a splittable DoFn:
//
//	element -> pair with restriction -> (element, restriction)
//	        -> split and size        -> ((element, restriction), size)
//	        -> process               -> the outputs
//
// The restriction coder of the payload is that of the restriction with all
// that the SDK wants to have with it, such as the state of a watermark
// estimator. Processing keeps the transform's id, so that what users measure
// carries it. All parts have the side inputs.
func (g *graph) expandSDF(t *pipeline.Transform) error {
	in := t.Inputs[0]
	element, err := g.wireCoder(in.Collection)
	if err != nil {
		return err
	}
	restriction, err := g.wire.Coder(t.ParDo.GetRestrictionCoderId())
	if err != nil {
		return err
	}
	pair := g.wire.KV(element, restriction)
	sized := g.wire.KV(pair, g.wire.Double())
	paired := g.newCollection(t.ID+"/paired", in.Collection, pair)
	split := g.newCollection(t.ID+"/split", in.Collection, sized)

	part := func(suffix, spec, from, to string) {
		n := leafNode(t)
		n.id, n.name, n.urn, n.proto = g.newID(t.ID+suffix), t.Name+suffix, spec, nil
		n.in = pipeline.Port{Local: in.Local, Collection: from}
		n.outs = []pipeline.Port{{Local: "i0", Collection: to}}
		g.add(n)
	}
	part("/PairWithRestriction", urn.SDFPairWithRestriction, in.Collection, paired)
	part("/SplitAndSize", urn.SDFSplitAndSizeRestrictions, paired, split)
	n := leafNode(t)
	n.urn, n.in.Collection = urn.SDFProcessSizedElements, split
	g.add(n)
	return nil
}
