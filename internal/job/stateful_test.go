package job

import (
	"fmt"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/model/window"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// statefulWorld runs bundles of one streaming stateful stage, whose input is
// kv<string, string> in interval windows, without a harness.
type statefulWorld struct {
	t      *testing.T
	r      *runner
	s      *stage
	bundle uint64
	// dropped counts late elements of all bundles.
	dropped int64
}

func newStatefulWorld(t *testing.T, ps *plan.Stage, latenessMS int64) *statefulWorld {
	spec := func(urn string, parts ...string) *pipepb.Coder {
		return &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: urn}, ComponentCoderIds: parts}
	}
	coders := map[string]*pipepb.Coder{"s": spec(urn.CoderStringUTF8), "kv": spec(urn.CoderKV, "s", "s"), "w": spec(urn.CoderIntervalWindow)}
	r := &runner{job: "j", shards: 1, blocks: testBlocks(t), store: store.NewMem(), plan: &plan.Plan{Coders: coders}}
	c, err := r.collection(&plan.Collection{Coder: "kv", WindowCoder: "w"})
	if err != nil {
		t.Fatal(err)
	}
	ps.Kind, ps.Keyed, ps.Streaming, ps.InputPort = plan.SDK, true, true, "in"
	s := &stage{plan: ps, input: c, strategy: &window.Strategy{Kind: window.Interval, AllowedLatenessMS: latenessMS}}
	r.stages = []*stage{s}
	return &statefulWorld{t: t, r: r, s: s}
}

// kv encodes an element in the windows [start, start+10).
func kv(key string, t timestamp.Time, starts ...int) []byte {
	var windows []byte
	for _, s := range starts {
		windows = timestamp.Append(windows, timestamp.Time(s+10))
		windows = coder.AppendVarint(windows, 10)
	}
	b := coder.AppendHeader(nil, t, windows, len(starts), coder.NoFiring)
	for _, s := range []string{key, fmt.Sprint(int64(t))} {
		b = append(coder.AppendVarint(b, uint64(len(s))), s...)
	}
	return b
}

// run runs a bundle and returns what it feeds: timestamps and windows of the
// elements.
func (w *statefulWorld) run(mark timestamp.Time, elements ...[]byte) string {
	w.t.Helper()
	w.bundle++
	a := w.r.newAttempt(core.StartBundle{Bundle: w.bundle, Leases: []core.Lease{{}}, Watermark: mark})
	a.open()
	defer a.reader.Close()
	b := newBuilder(w.r.blocks, false, func(b commit.Block) { a.ev.Leases[0].Blocks = append(a.ev.Leases[0].Blocks, b) })
	for _, e := range elements {
		if err := b.add(e, 0); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := b.flush(); err != nil {
		w.t.Fatal(err)
	}
	c, err := a.input()
	if err != nil {
		w.t.Fatal(err)
	}
	fed := ""
	for {
		chunk, err := c.Next(w.t.Context())
		if err != nil {
			break
		}
		_ = w.s.input.eachElement(chunk.Data, func(e *coder.Element) error {
			fed += fmt.Sprintf(" %d/%d", e.Timestamp, e.NumWindows)
			return nil
		})
	}
	w.dropped += a.dropped
	if err := a.close(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.r.store.Apply(a.record.Ops, false); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range a.record.Shards {
		fed += fmt.Sprintf(" next=%d", s.NextEvent)
		if s.Hold != commitNone {
			fed += fmt.Sprintf(" hold=%d", s.Hold)
		}
	}
	return fed
}

func (w *statefulWorld) want(got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("got%s, want%s", got, want)
	}
}

func TestLateElementsAreDropped(t *testing.T) {
	w := newStatefulWorld(t, &plan.Stage{}, 5)
	none := fmt.Sprintf(" next=%d", commitNone)
	// The window [0, 10) ends at 9 and expires after 14; two later it is dropped.
	w.want(w.run(0, kv("a", 3, 0)), " 3/1 next=16")
	w.want(w.run(14, kv("a", 4, 0)), " 4/1 next=16")
	w.want(w.run(15, kv("a", 4, 0), kv("a", 5, 0, 10)), " 5/1 next=16")
	if w.dropped != 2 {
		t.Errorf("%d elements were counted as dropped, want one for each window that had expired: 2", w.dropped)
	}
	w.want(w.run(16), " next=26")
	w.want(w.run(30), none)
}

func TestStateOfExpiredWindowsIsDropped(t *testing.T) {
	w := newStatefulWorld(t, &plan.Stage{}, 0)
	w.run(0, kv("a", 3, 0))
	a := w.r.newAttempt(core.StartBundle{Bundle: 100, Leases: []core.Lease{{}}, Watermark: 11})
	a.open()
	// A timer of the user for that window goes first.
	timer := table.Timer{Transform: "t", Family: "f", Key: []byte("\x01a"), Window: kv("a", 3, 0)[12:21], Domain: table.EventTime, Fire: 9, Hold: 9}
	if err := a.timers.Set(0, timer); err != nil {
		t.Fatal(err)
	}
	for _, left := range []int{1, 0} {
		due, err := a.timers.Due(0, table.EventTime, 11, 10)
		if err != nil {
			t.Fatal(err)
		}
		users, err := a.ownTimers(&chunks{a: a}, 0, due)
		if err != nil {
			t.Fatal(err)
		}
		if len(users) != left {
			t.Errorf("%d timers of the user are due, want %d", len(users), left)
		}
		if err := a.timers.Clear(0, timer); err != nil {
			t.Fatal(err)
		}
	}
	if due, _ := a.timers.Due(0, table.EventTime, 100, 10); len(due) > 0 {
		t.Errorf("timers are left: %v", due)
	}
}

func TestSortedByTimeWhileStreaming(t *testing.T) {
	w := newStatefulWorld(t, &plan.Stage{TimeSorted: true}, 2)
	w.want(w.run(0, kv("a", 7, 0), kv("a", 3, 0), kv("a", 5, 0)), " next=6 hold=3")
	w.want(w.run(7, kv("a", 4, 0)), " 3/1 next=8 hold=5") // 4 is late: 5 could have been fed at 7
	w.want(w.run(8, kv("a", 6, 0)), " 5/1 next=9 hold=6")
	w.want(w.run(timestamp.Max), " 6/1 7/1 next=13") // the window, too, has expired by now
	w.want(w.run(timestamp.Max), fmt.Sprintf(" next=%d", commitNone))
}
