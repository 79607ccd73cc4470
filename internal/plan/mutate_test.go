package plan

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// TestMutations breaks pipelines in small ways. Each is rejected, or planned
// right.
func TestMutations(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.pb")
	var originals []*pipepb.Pipeline
	for _, path := range paths {
		originals = append(originals, load(t, path))
	}
	rapid.Check(t, func(rt *rapid.T) {
		p := proto.Clone(rapid.SampledFrom(originals).Draw(rt, "pipeline")).(*pipepb.Pipeline)
		for range rapid.IntRange(1, 3).Draw(rt, "mutations") {
			mutate(rt, p.GetComponents())
		}
		checked, err := pipeline.Validate(p)
		if err != nil {
			return
		}
		for _, o := range variants {
			plan, err := Build(checked, o)
			if err != nil {
				rt.Logf("not planned: %v", err)
				continue
			}
			checkPlan(t, checked, plan)
		}
	})
}

func mutate(t *rapid.T, c *pipepb.Components) {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		delete(c.Transforms, pick(t, c.Transforms))
	case 1:
		delete(c.Pcollections, pick(t, c.Pcollections))
	case 2:
		delete(c.Coders, pick(t, c.Coders))
	case 3:
		if tr := c.Transforms[pick(t, c.Transforms)]; tr != nil && len(tr.Inputs) > 0 {
			tr.Inputs[pick(t, tr.Inputs)] = pick(t, c.Pcollections)
		}
	case 4:
		if tr := c.Transforms[pick(t, c.Transforms)]; tr != nil && len(tr.Outputs) > 0 {
			delete(tr.Outputs, pick(t, tr.Outputs))
		}
	case 5:
		a, b := pick(t, c.Transforms), pick(t, c.Transforms)
		if c.Transforms[a] != nil && c.Transforms[b] != nil {
			c.Transforms[a].Spec = c.Transforms[b].Spec
		}
	case 6:
		if pc := c.Pcollections[pick(t, c.Pcollections)]; pc != nil {
			pc.CoderId = pick(t, c.Coders)
		}
	case 7:
		if pc := c.Pcollections[pick(t, c.Pcollections)]; pc != nil {
			pc.WindowingStrategyId = pick(t, c.WindowingStrategies)
			pc.IsBounded = pipepb.IsBounded_UNBOUNDED
		}
	case 8:
		if cd := c.Coders[pick(t, c.Coders)]; cd != nil && len(cd.ComponentCoderIds) > 0 {
			cd.ComponentCoderIds[0] = pick(t, c.Coders)
		}
	case 9:
		if tr := c.Transforms[pick(t, c.Transforms)]; tr != nil && len(tr.Subtransforms) > 0 {
			tr.Subtransforms[0] = pick(t, c.Transforms)
		}
	}
}

func pick[V any](t *rapid.T, m map[string]V) string {
	if len(m) == 0 {
		return ""
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m))).Draw(t, "id")
}
