package job

import (
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/plan"
)

func TestCacheTokens(t *testing.T) {
	bounded, unbounded := &plan.Collection{Bounded: true}, &plan.Collection{}
	s := &stage{plan: &plan.Stage{Kind: plan.SDK, Keyed: true, SideInputs: []*plan.SideInput{
		{Transform: "t", Local: "a", Collection: bounded}, {Transform: "t", Local: "b", Collection: unbounded},
	}}}
	r := &runner{job: "j", stages: []*stage{s}}
	tokens := func(one bool) (state string, sides []string) {
		for _, c := range r.newAttempt(core.StartBundle{}).cacheTokens(one) {
			if side := c.GetSideInput(); side != nil {
				sides = append(sides, side.GetSideInputId())
			} else {
				state = string(c.GetToken())
			}
		}
		return state, sides
	}
	first, sides := tokens(true)
	if len(sides) != 1 || sides[0] != "a" {
		t.Errorf("side inputs kept: %v", sides)
	}
	again, _ := tokens(true)
	s.failures.Add(1)
	after, _ := tokens(true)
	several, _ := tokens(false)
	if first == "" || again != first || after == first || several != "" {
		t.Errorf("tokens of state: %q, %q, after a failure %q, with several harnesses %q", first, again, after, several)
	}
}
