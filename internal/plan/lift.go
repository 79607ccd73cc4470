package plan

import (
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// liftable reports whether values may be combined before they are grouped.
//
// They may not if a trigger counts elements, of which there would be fewer, or
// if windows merge: each element then starts in a window of its own, so that
// nothing is gained, and one SDK cannot do it. Nor may they if the timestamp of
// a pane depends on its elements: an accumulator has but one. Elements that came
// in time could not be told from late ones, and Java's harness takes the
// timestamp of whichever element is the first.
func (g *graph) liftable(t *pipeline.Transform) bool {
	s := g.p.Strategy(t.Inputs[0].Collection)
	return !g.o.NoLifting && t.Environment != "" && t.Combine.GetAccumulatorCoderId() != "" &&
		!s.Merging && !countsElements(s.Trigger) && s.Combiner == pipepb.OutputTime_END_OF_WINDOW
}

// countsElements reports whether it matters to a trigger how many elements
// there are. A trigger of an unknown kind may count.
func countsElements(t *pipepb.Trigger) bool {
	switch t := t.GetTrigger().(type) {
	case nil, *pipepb.Trigger_Default_, *pipepb.Trigger_Never_,
		*pipepb.Trigger_AfterProcessingTime_, *pipepb.Trigger_AfterSynchronizedProcessingTime_:
		return false
	case *pipepb.Trigger_AfterEndOfWindow_:
		return countsElements(t.AfterEndOfWindow.GetEarlyFirings()) || countsElements(t.AfterEndOfWindow.GetLateFirings())
	case *pipepb.Trigger_AfterAll_:
		return anyCounts(t.AfterAll.GetSubtriggers())
	case *pipepb.Trigger_AfterAny_:
		return anyCounts(t.AfterAny.GetSubtriggers())
	case *pipepb.Trigger_AfterEach_:
		return anyCounts(t.AfterEach.GetSubtriggers())
	case *pipepb.Trigger_OrFinally_:
		return countsElements(t.OrFinally.GetMain()) || countsElements(t.OrFinally.GetFinally())
	case *pipepb.Trigger_Repeat_:
		return countsElements(t.Repeat.GetSubtrigger())
	}
	return true
}

func anyCounts(ts []*pipepb.Trigger) bool {
	for _, t := range ts {
		if countsElements(t) {
			return true
		}
	}
	return false
}

// expandCombine adds a combine that is lifted, or one that is not but that has
// no subtransforms to expand to.
func (g *graph) expandCombine(t *pipeline.Transform) error {
	in, out := t.Inputs[0].Collection, t.Outputs[0].Collection
	input, err := g.wireCoder(in)
	if err != nil {
		return err
	}
	kv := g.wire.Coders()[input].GetComponentCoderIds()
	if !g.liftable(t) {
		grouped := g.newCollection(t.ID+"/grouped", in, g.wire.KV(kv[0], g.wire.Iterable(kv[1])))
		g.combineStep(t, "/CombineGroupedValues", urn.CombineGroupedValues, grouped, out)
		return g.group(t, g.newID(t.ID+"/Group"), t.Name+"/Group", in, grouped)
	}
	accumulator, err := g.wire.Coder(t.Combine.GetAccumulatorCoderId())
	if err != nil {
		return err
	}
	pair := g.wire.KV(kv[0], accumulator)
	lifted := g.newCollection(t.ID+"/lifted", in, pair)
	grouped := g.newCollection(t.ID+"/grouped", in, g.wire.KV(kv[0], g.wire.Iterable(accumulator)))
	merged := g.newCollection(t.ID+"/merged", out, pair)
	g.combineStep(t, "/Precombine", urn.CombinePerKeyPrecombine, in, lifted)
	g.combineStep(t, "/Merge", urn.CombinePerKeyMergeAccumulators, grouped, merged)
	g.combineStep(t, "/Extract", urn.CombinePerKeyExtractOutputs, merged, out)
	return g.group(t, g.newID(t.ID+"/Group"), t.Name+"/Group", lifted, grouped)
}

func (g *graph) combineStep(t *pipeline.Transform, suffix, spec, from, to string) {
	g.add(&node{
		id: g.newID(t.ID + suffix), name: t.Name + suffix, origin: t.ID, kind: pipeline.SDK, urn: spec, env: t.Environment,
		in: pipeline.Port{Local: "i0", Collection: from}, outs: []pipeline.Port{{Local: "i0", Collection: to}},
		payload: t.Proto.GetSpec().GetPayload(), combine: t.Combine,
	})
}
