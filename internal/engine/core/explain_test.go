package core

import (
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
)

// holdPlan is source → state → group → sink, all of it streaming.
func holdPlan() *plan.Plan {
	coll := &plan.Collection{ID: "c"}
	to := func(i int) []*plan.Output {
		return []*plan.Output{{Collection: coll, Consumers: []plan.Consumer{{Stage: i, Side: -1}}}}
	}
	return &plan.Plan{Stages: []*plan.Stage{
		{Index: 0, Name: "Impulse", Kind: plan.Impulse, Outputs: to(1)},
		{Index: 1, Name: "Source", Kind: plan.SDK, Environment: "e", Input: coll, Splittable: true, Outputs: to(2)},
		{Index: 2, Name: "State", Kind: plan.SDK, Keyed: true, Environment: "e", Input: coll, Outputs: to(3)},
		{Index: 3, Name: "Group", Kind: plan.Group, Keyed: true, Input: coll, Group: &plan.GroupSpec{Strategy: plan.Reduce}, Outputs: to(4)},
		{Index: 4, Name: "Sink", Kind: plan.SDK, Environment: "e", Input: coll},
	}}
}

// Who keeps a watermark back is named, with its stage, and not just whoever is
// next to the one that asks.
func TestExplanations(t *testing.T) {
	const second = timestamp.Time(1000)
	for _, c := range []struct {
		name   string
		set    func(c *Core)
		want   string
		holder *Holder
	}{
		{"impulse", func(*Core) {}, "waits for Impulse, whose watermark is at -inf: it has yet to begin", nil},
		{"estimate", func(c *Core) {
			c.stages[1].push(item{Block: commit.Block{Min: timestamp.Min, Count: 1}, Hold: 7 * second, ReadyMS: 3000})
		}, "waits for Source, whose watermark is at 1970-01-01T00:00:07Z: a source that rests for 3s estimates that nothing before 1970-01-01T00:00:07Z is to come", nil},
		{"residual", func(c *Core) {
			c.stages[1].push(item{Block: commit.Block{Min: 7 * second, Count: 1}, Hold: 7 * second, ReadyMS: 3000})
		}, "waits for Source, whose watermark is at 1970-01-01T00:00:07Z: what is left of an element of 1970-01-01T00:00:07Z rests for 3s", nil},
		{"elements", func(c *Core) {
			c.stages[2].push(item{Block: commit.Block{Min: 7 * second, Count: 5}, Hold: 7 * second})
			c.stages[2].push(item{Shard: 1, Block: commit.Block{Min: 7 * second, Count: 5}, Hold: 7 * second})
			c.stages[2].push(item{Block: commit.Block{Min: 8 * second, Count: 5}, Hold: 8 * second})
		}, "waits for State, whose watermark is at 1970-01-01T00:00:07Z: 10 elements from 1970-01-01T00:00:07Z on have not been processed", nil},
		{"in flight", func(c *Core) { c.stages[2].flight[7*second]++ },
			"waits for State, whose watermark is at 1970-01-01T00:00:07Z: bundles in flight have elements or restrictions from 1970-01-01T00:00:07Z on", nil},
		{"hold", func(c *Core) { c.stages[2].shards[3].hold = 7 * second },
			"waits for State, whose watermark is at 1970-01-01T00:00:07Z: held at 1970-01-01T00:00:07Z by state or timers in shard 3", &Holder{2, 3}},
		{"timer without hold", func(c *Core) { c.stages[3].shards[1].nextEvent = timestamp.Max },
			"a timer in shard 1, set for +inf, has yet to fire", &Holder{3, 1}},
		{"processing time", func(c *Core) { c.stages[3].shards[1].nextProc = 5000 },
			"a timer in shard 1 is due in 5s of processing time", &Holder{3, 1}},
		{"complete", func(*Core) {}, "complete", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			co := New(holdPlan(), Config{Shards: 4})
			co.stages[0].impulse = c.name == "impulse"
			c.set(co)
			co.refresh()
			st := co.Status(4)
			if !strings.HasSuffix(st.Explained, c.want) {
				t.Errorf("explained by\n\t%q, want\n\t%q", st.Explained, c.want)
			}
			if h := st.Holder; (h == nil) != (c.holder == nil) || h != nil && *h != *c.holder {
				t.Errorf("holder %v, want %v", h, c.holder)
			}
		})
	}
}
