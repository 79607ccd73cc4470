package plan

import (
	"testing"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
)

// A reason in other words is no other plan; another stage is.
func TestFingerprint(t *testing.T) {
	p := plantest.New()
	kv := p.ParDo("make", "a", p.Impulse("impulse"), "kv")
	grouped := p.Runner("gbk", urn.GroupByKey, "gkv", kv)
	p.ParDo("x", "a", grouped, "bytes")
	p.ParDo("y", "a", grouped, "bytes")
	plan := build(t, p.Pipeline, Options{})
	was := plan.Fingerprint()
	stageOf(t, plan, "x").Why = []string{"for another reason"}
	if plan.Fingerprint() != was {
		t.Error("the reason is part of the fingerprint")
	}
	if build(t, p.Pipeline, Options{NoFusion: true}).Fingerprint() == was {
		t.Error("plans with other stages have the same fingerprint")
	}
}
