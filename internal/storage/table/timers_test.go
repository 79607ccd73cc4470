package table

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/store/storetest"
)

func must(t interface {
	Helper()
	Fatal(...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func timer(key, tag string, d Domain, fire int64, hold timestamp.Time) Timer {
	return Timer{Transform: "par", Family: "f", Key: []byte(key), Tag: []byte(tag), Window: []byte("w"),
		Domain: d, Fire: fire, Hold: hold, Pane: []byte{15}}
}

func show(ts []Timer) (s string) {
	for _, t := range ts {
		s += fmt.Sprintf("%s/%s@%d ", t.Key, t.Tag, t.Fire)
	}
	return s
}

func wantDue(t *testing.T, ts *Timers, d Domain, upTo int64, limit int, want string) {
	t.Helper()
	due, err := ts.Due(0, d, upTo, limit)
	if got := show(due); got != want || err != nil {
		t.Errorf("due %q, %v, want %q", got, err, want)
	}
}

func wantSummary(t *testing.T, ts *Timers, event timestamp.Time, proc int64, hold timestamp.Time) {
	t.Helper()
	e, p, h, err := ts.Summary(0)
	if e != event || p != proc || h != hold || err != nil {
		t.Errorf("summary: event %d, processing %d, hold %d, %v; want %d, %d, %d", e, p, h, err, event, proc, hold)
	}
}

func TestTimers(t *testing.T) {
	m := storetest.Map{}
	ts := NewTimers(m, "job", 0)
	wantSummary(t, ts, commit.None, math.MaxInt64, commit.None)
	must(t, ts.Set(0, timer("b", "", EventTime, 10, 5)))
	must(t, ts.Set(0, timer("a", "y", EventTime, 10, commit.None)))
	must(t, ts.Set(0, timer("a", "x", EventTime, 10, 7)))
	must(t, ts.Set(0, timer("a", "neg", EventTime, -3, commit.None)))
	must(t, ts.Set(0, timer("a", "p", ProcessingTime, 99, 6)))
	must(t, ts.Set(1, timer("z", "", EventTime, -99, -99)))
	wantSummary(t, ts, -3, 99, 5)
	wantDue(t, ts, EventTime, 9, 10, "a/neg@-3 ")
	wantDue(t, ts, EventTime, 10, 10, "a/neg@-3 a/x@10 a/y@10 b/@10 ")
	wantDue(t, ts, EventTime, 10, 2, "a/neg@-3 a/x@10 ")
	wantDue(t, ts, EventTime, 10, 0, "")
	wantDue(t, ts, ProcessingTime, 98, 10, "")

	// Set replaces, across domains too.
	must(t, ts.Set(0, timer("b", "", ProcessingTime, 1, commit.None)))
	must(t, ts.Set(0, timer("a", "neg", EventTime, 20, 20)))
	wantSummary(t, ts, 10, 1, 6)
	wantDue(t, ts, EventTime, 100, 10, "a/x@10 a/y@10 a/neg@20 ")
	must(t, ts.Clear(0, timer("a", "p", 0, 0, 0)))
	must(t, ts.Clear(0, timer("not there", "p", 0, 0, 0)))
	wantSummary(t, ts, 10, 1, 7)

	h := NewHolds(m, "job", 0)
	must(t, h.Set(0, []byte("owner"), 2))
	wantSummary(t, ts, 10, 1, 2)
	must(t, h.Set(0, []byte("owner"), 8))
	wantSummary(t, ts, 10, 1, 7)

	for _, k := range []string{"b", "a"} {
		must(t, ts.DropWindow(0, []byte(k), []byte("w")))
	}
	must(t, h.Clear(0, []byte("owner")))
	wantSummary(t, ts, commit.None, math.MaxInt64, commit.None)
	must(t, ts.DropWindow(1, []byte("z"), []byte("w")))
	if len(m) != 0 {
		t.Errorf("left behind: %q", m)
	}
	if err := ts.Set(0, Timer{}); err == nil {
		t.Error("a timer without a domain is accepted")
	}
}

func TestTimerFieldsSurvive(t *testing.T) {
	want := Timer{Transform: "t\x00", Family: "f", Key: []byte{0, 1}, Tag: []byte{0}, Window: []byte{0, 0xff},
		Domain: ProcessingTime, Fire: math.MinInt64, Hold: timestamp.Min, Pane: []byte{1, 2, 3}}
	ts := NewTimers(storetest.Map{}, "job", 0)
	must(t, ts.Set(3, want))
	due, err := ts.Due(3, ProcessingTime, 0, 1)
	if err != nil || fmt.Sprintf("%+v", due) != fmt.Sprintf("%+v", []Timer{want}) {
		t.Errorf("have %+v, %v, want %+v", due, err, want)
	}
}

func TestDropWindowLeavesNeighbours(t *testing.T) {
	b := newBundles(t)
	ts, h := NewTimers(b.txn, "job", 3), NewHolds(b.txn, "job", 3)
	b.append(bagKey("k", "x"), "a")
	b.append(mapKey("k", "m", "y"), "b")
	b.append(listKey("k", "l", nil), entry(1, "c"))
	b.append(bagKey("k\x00", "x"), "d")
	must(t, ts.Set(1, timer("k", "", EventTime, 1, 1)))
	must(t, ts.Set(1, timer("k\x00", "", EventTime, 2, 2)))
	must(t, h.Set(1, append(keyspace.HoldOwner([]byte("k"), []byte("w")), "element"...), 0))
	must(t, h.Set(1, keyspace.HoldOwner([]byte("k"), []byte("ww")), 3))
	must(t, ts.DropWindow(1, []byte("k"), []byte("w")))
	b.want(bagKey("k", "x"), "")
	b.want(mapKeys("k", "m"), "")
	b.want(listKey("k", "l", nil), "")
	b.want(bagKey("k\x00", "x"), "d")
	e, _, hold, err := ts.Summary(1)
	if e != 2 || hold != 2 || err != nil {
		t.Errorf("event %d, hold %d, %v", e, hold, err)
	}
	if n := len(b.txn.Ops()); n > 20 {
		t.Errorf("%d ops", n)
	}
}

// counting counts the keys that scans walk over.
type counting struct {
	store.Reader
	keys int
}

func (c *counting) Scan(lo, hi []byte, fn func(k, v []byte) bool) error {
	return c.Reader.Scan(lo, hi, func(k, v []byte) bool { c.keys++; return fn(k, v) })
}

func TestSummaryDoesNotWalkFar(t *testing.T) {
	s := store.NewMem()
	txn := store.NewTxn(s.Snapshot())
	ts := NewTimers(txn, "job", 0)
	const n = 1000
	for i := range n {
		must(t, ts.Set(0, timer(fmt.Sprint(i), "", EventTime, int64(i), timestamp.Time(i))))
	}
	must(t, s.Apply(txn.Ops(), false))
	c := &counting{Reader: s.Snapshot()}
	ts = NewTimers(store.NewTxn(c), "job", 0)
	for range n {
		due, err := ts.Due(0, EventTime, n, 1)
		must(t, err)
		must(t, ts.Clear(0, due[0]))
		_, _, _, err = ts.Summary(0)
		must(t, err)
	}
	if c.keys > 10*n {
		t.Errorf("firing %d timers walked over %d keys", n, c.keys)
	}
}

// TestTimersModel compares Timers and Holds with maps.
func TestTimersModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kv := storetest.Map{}
		ts, h := NewTimers(kv, "job", 0), NewHolds(kv, "job", 0)
		timers, holds := map[string]Timer{}, map[string]timestamp.Time{}
		name := rapid.SampledFrom([]string{"a", "b", "a\x00"})
		for range rapid.IntRange(1, 30).Draw(t, "operations") {
			x := timer(name.Draw(t, "key"), name.Draw(t, "tag"),
				rapid.SampledFrom([]Domain{EventTime, ProcessingTime}).Draw(t, "domain"),
				rapid.Int64Range(-3, 3).Draw(t, "fire"),
				rapid.SampledFrom([]timestamp.Time{-1, 0, 1, commit.None}).Draw(t, "hold"))
			id := string(x.Key) + "|" + string(x.Tag)
			owner := string(keyspace.HoldOwner(x.Key, x.Window)) + string(x.Tag)
			switch rapid.IntRange(0, 7).Draw(t, "operation") {
			case 0, 1, 2:
				must(t, ts.Set(0, x))
				timers[id] = x
			case 3:
				must(t, ts.Clear(0, x))
				delete(timers, id)
			case 4:
				must(t, h.Set(0, []byte(owner), x.Hold-2))
				holds[owner] = x.Hold - 2
			case 5:
				must(t, h.Clear(0, []byte(owner)))
				delete(holds, owner)
			case 6:
				must(t, ts.DropWindow(0, x.Key, x.Window))
				h = NewHolds(kv, "job", 0)
				for id, y := range timers {
					if bytes.Equal(x.Key, y.Key) {
						delete(timers, id)
					}
				}
				for o := range holds {
					if bytes.HasPrefix([]byte(o), keyspace.HoldOwner(x.Key, x.Window)) {
						delete(holds, o)
					}
				}
			case 7: // the next bundle
				ts, h = NewTimers(kv, "job", 0), NewHolds(kv, "job", 0)
			}
			checkTimers(t, ts, timers, holds)
		}
	})
}

func checkTimers(t *rapid.T, ts *Timers, timers map[string]Timer, holds map[string]timestamp.Time) {
	next := map[Domain]int64{EventTime: int64(commit.None), ProcessingTime: math.MaxInt64}
	hold := commit.None
	for _, x := range timers {
		next[x.Domain] = min(next[x.Domain], x.Fire)
		hold = min(hold, x.Hold)
	}
	for _, at := range holds {
		hold = min(hold, at)
	}
	e, p, got, err := ts.Summary(0)
	if int64(e) != next[EventTime] || p != next[ProcessingTime] || got != hold || err != nil {
		t.Fatalf("summary: %d %d %d %v, want %v %d", e, p, got, err, next, hold)
	}
	for _, d := range []Domain{EventTime, ProcessingTime} {
		upTo := rapid.Int64Range(-4, 4).Draw(t, "up to")
		var want []Timer
		for _, x := range timers {
			if x.Domain == d && x.Fire <= upTo {
				want = append(want, x)
			}
		}
		slices.SortFunc(want, func(a, b Timer) int {
			return cmp.Or(cmp.Compare(a.Fire, b.Fire), bytes.Compare(a.Key, b.Key), bytes.Compare(a.Tag, b.Tag))
		})
		due, err := ts.Due(0, d, upTo, 100)
		if show(due) != show(want) || err != nil {
			t.Fatalf("due %s, %v, want %s", show(due), err, show(want))
		}
	}
}

// Of all that keeps a shard's watermark the first counts: holds before timers,
// event time before processing time.
func TestHolder(t *testing.T) {
	kv := store.NewTxn(store.NewMem().Snapshot())
	timers, holds := NewTimers(kv, "j", 1), NewHolds(kv, "j", 1)
	want := func(transform string, owner string) {
		t.Helper()
		h, err := timers.Holder(0)
		if err != nil || string(h.Owner) != owner || (h.Timer == nil) != (transform == "") || h.Timer != nil && h.Timer.Transform != transform {
			t.Errorf("%+v, %v; want timer of %q or owner %q", h, err, transform, owner)
		}
	}
	set := func(timer Timer) {
		t.Helper()
		timer.Key, timer.Window = []byte("k"), []byte("w")
		if err := timers.Set(0, timer); err != nil {
			t.Fatal(err)
		}
	}
	want("", "")
	set(Timer{Transform: "proc", Domain: ProcessingTime, Fire: 1, Hold: commit.None})
	want("proc", "")
	set(Timer{Transform: "event", Domain: EventTime, Fire: 50, Hold: commit.None})
	want("event", "")
	set(Timer{Transform: "holding", Domain: EventTime, Fire: 60, Hold: 20})
	want("holding", "")
	if err := holds.Set(0, []byte("owner"), 10); err != nil {
		t.Fatal(err)
	}
	want("", "owner")
}
