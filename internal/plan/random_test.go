package plan

import (
	"fmt"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
)

// TestRandomPipelines plans random graphs under all options.
func TestRandomPipelines(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := randomPipeline(rt)
		for _, o := range variants {
			build(t, p, o)
			if t.Failed() {
				rt.Fatalf("%+v:\n%v", o, p)
			}
		}
	})
}

func randomPipeline(t *rapid.T) *pipepb.Pipeline {
	p := plantest.New()
	all := []string{p.Impulse("impulse")}
	coderOf := func(c string) string { return p.Components.Pcollections[c].GetCoderId() }
	pick := func(label string) string { return rapid.SampledFrom(all).Draw(t, label) }
	for i := range rapid.IntRange(1, 25).Draw(t, "transforms") {
		id := fmt.Sprintf("t%d", i)
		in := pick("in")
		env := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "env")
		coder := rapid.SampledFrom([]string{"bytes", "opaque", "kv", "okv"}).Draw(t, "coder")
		keyed := coderOf(in) == "kv" || coderOf(in) == "okv"
		var sides []string
		for range rapid.IntRange(0, 2).Draw(t, "sides") {
			sides = append(sides, pick("side"))
		}
		kind := rapid.IntRange(0, 7).Draw(t, "kind")
		switch {
		case kind == 0 && keyed:
			all = append(all, p.Runner(id, urn.GroupByKey, rapid.SampledFrom([]string{"gkv", "gokv"}).Draw(t, "grouped"), in))
		case kind == 1 && keyed:
			all = append(all, p.Combine(id, env, in, coder, "gokv"))
		case kind == 2:
			all = append(all, p.Runner(id, urn.Flatten, coder, append(sides, in)...))
		case kind == 3:
			all = append(all, p.Runner(id, urn.Reshuffle, coder, in))
		case kind == 4:
			all = append(all, p.ParDoLike(id, env, in, coder, &pipepb.ParDoPayload{RestrictionCoderId: "opaque"}, sides...))
		case kind == 5 && keyed:
			m := &pipepb.ParDoPayload{TimerFamilySpecs: map[string]*pipepb.TimerFamilySpec{"t": {TimeDomain: pipepb.TimeDomain_EVENT_TIME}}}
			all = append(all, p.ParDoLike(id, env, in, coder, m, sides...))
		default:
			all = append(all, p.ParDo(id, env, in, coder, sides...))
		}
	}
	return p.Pipeline
}

// FuzzBuild plans whatever passes as a pipeline.
func FuzzBuild(f *testing.F) {
	p := plantest.New()
	p.Combine("sum", "a", p.ParDo("make", "a", p.Impulse("impulse"), "okv"), "kv", "gokv")
	data, _ := proto.Marshal(p.Pipeline)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &pipepb.Pipeline{}
		if proto.Unmarshal(data, p) != nil {
			return
		}
		checked, err := pipeline.Validate(p)
		if err != nil {
			return
		}
		for _, o := range variants {
			if plan, err := Build(checked, o); err == nil {
				_ = plan.String()
			}
		}
	})
}
