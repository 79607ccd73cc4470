package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// bag is the state key of a bag.
func bag(key string) *fnpb.StateKey {
	return &fnpb.StateKey{Type: &fnpb.StateKey_BagUserState_{BagUserState: &fnpb.StateKey_BagUserState{
		TransformId: transformID, UserStateId: "seen", Key: []byte(key),
	}}}
}

// remember appends v to the state of key and returns all of it.
func remember(b *fakesdk.Bundle, key, v string) (string, error) {
	_, err := b.State(&fnpb.StateRequest{StateKey: bag(key), Request: &fnpb.StateRequest_Append{
		Append: &fnpb.StateAppendRequest{Data: []byte(v)},
	}})
	if err != nil {
		return "", err
	}
	return recall(b, key)
}

func recall(b *fakesdk.Bundle, key string) (string, error) {
	r, err := b.State(&fnpb.StateRequest{StateKey: bag(key), Request: &fnpb.StateRequest_Get{Get: &fnpb.StateGetRequest{}}})
	return string(r.GetGet().GetData()), err
}

var stateful = Function{URN: "test:stateful", Stateful: true}

func TestStateOfABundleThatDiesIsNotKept(t *testing.T) {
	for name, backend := range backends() {
		t.Run(name, func(t *testing.T) {
			var deaths atomic.Int32
			p, _ := fakePool(t, 1, func(b *fakesdk.Bundle) error {
				return each(b, func(v string) (string, error) {
					got, err := remember(b, v[:1], v[1:])
					if v == "ax" && deaths.Add(1) == 1 {
						b.Worker().Kill()
						return "", fakesdk.ErrSilent
					}
					return got, err
				})
			})
			ctx := deadline(t)
			op, err := p.OpenState(ctx, stateful, Limits{}, backend)
			if err != nil {
				t.Fatal(err)
			}
			defer op.Close()
			for _, step := range []struct{ in, want string }{{"a1", "1"}, {"b2", "2"}, {"ax", "1x"}, {"a3", "1x3"}} {
				r, err := op.Call(ctx, batchOf(nil, step.in))
				if err != nil || !slices.Equal(elements(r.Data), []string{step.want}) {
					t.Fatalf("%s: %v %v", step.in, err, elements(r.Data))
				}
			}
			if err := op.Checkpoint(ctx); err != nil {
				t.Fatal(err)
			}
			if deaths.Load() != 2 {
				t.Fatal("the bundle was not tried twice")
			}
		})
	}
}

// Output that is not what was asked for leaves the state as it was.
func TestInvalidOutputChangesNoState(t *testing.T) {
	loose := Function{URN: "test:loose", Stateful: true, Match: Loose}
	for name, c := range map[string]struct {
		f      Function
		output []byte
	}{
		"too little":         {stateful, nil},
		"too much":           {stateful, batchOf(nil, "x", "y").Data},
		"part of an element": {loose, []byte{5, 'x'}},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := fakePool(t, 1, func(b *fakesdk.Bundle) error {
				_, err := b.Next()
				if err == nil {
					_, err = remember(b, "k", "v")
				}
				if err == nil && len(c.output) > 0 {
					err = b.Emit(sinkID, c.output)
				}
				if err == nil {
					_, err = b.Next()
				}
				return eofOK(err)
			})
			ctx := deadline(t)
			m := NewMemory()
			op, err := p.OpenState(ctx, c.f, Limits{}, m)
			if err != nil {
				t.Fatal(err)
			}
			defer op.Close()
			if r, err := op.Call(ctx, batchOf(nil, "a")); err == nil {
				t.Error("no error:", elements(r.Data))
			}
			if cells, _ := m.Len(); cells != 0 {
				t.Error("the state has changed")
			}
			if op.Checkpoint(ctx) == nil {
				t.Error("a checkpoint of an operator that has failed")
			}
		})
	}
}

// noCommits is a backend that takes none.
type noCommits struct{ *Memory }

func (noCommits) Commit(Commit) error { return errors.New("disk full") }

// A bundle whose state is not kept gives no result.
func TestNoResultWithoutItsState(t *testing.T) {
	p, _ := fakePool(t, 1, func(b *fakesdk.Bundle) error {
		return each(b, func(v string) (string, error) { return remember(b, "k", v) })
	})
	ctx := deadline(t)
	op, err := p.OpenState(ctx, stateful, Limits{}, noCommits{NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	if r, err := op.Call(ctx, batchOf(nil, "a")); err == nil || !strings.Contains(err.Error(), "disk full") || r.Data != nil {
		t.Fatal(err, r)
	}
}

// A checkpoint has the state of what was sent before it, though more is sent.
func TestCheckpointIsBetweenBatches(t *testing.T) {
	p, _ := fakePool(t, 1, func(b *fakesdk.Bundle) error {
		return each(b, func(v string) (string, error) { return remember(b, "k", v) })
	})
	ctx := deadline(t)
	b := &syncs{Memory: NewMemory()}
	op, err := p.OpenState(ctx, stateful, Limits{}, b)
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	b.op = op
	send := func(v string) {
		t.Helper()
		if err := op.Send(ctx, batchOf(nil, v)); err != nil {
			t.Fatal(err)
		}
	}
	send("a")
	send("b")
	if err := op.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	send("c")
	if err := op.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if b.state != "ab" {
		t.Fatalf("the checkpoint has %q", b.state)
	}
}

// syncs notes the state at each Sync, in which it sends more.
type syncs struct {
	*Memory
	op    *Operator
	state string
}

func (s *syncs) Sync() error {
	if err := s.op.Send(context.Background(), batchOf(nil, "later")); err != nil {
		return err
	}
	data, _, err := s.Read(Cell{Transform: transformID, Name: "seen", Key: []byte("k")}, nil, 0, 100)
	s.state = string(data)
	return err
}

func TestAFailureOfATransactionIsFinal(t *testing.T) {
	p, _ := fakePool(t, 1, fakesdk.Fail("ValueError: no"))
	ctx := deadline(t)
	op, err := p.Open(ctx, stateful, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	var fe *FunctionError
	if _, err := op.Call(ctx, batchOf(nil, "a")); !errors.As(err, &fe) {
		t.Fatal(err)
	}
	if _, err := op.Call(ctx, batchOf(nil, "a")); !errors.As(err, &fe) {
		t.Fatal(err)
	}
	if err := op.Checkpoint(ctx); !errors.As(err, &fe) {
		t.Fatal(err)
	}
}

// timerOfKey is a timer as Beam's coder writes it.
func timerOfKey(key string, at int64, clear bool) []byte {
	e := coder.TimerElement{Key: AppendElement(nil, []byte(key)), NumWindows: 1, Fire: timestamp.Time(at), Hold: timestamp.Time(at), Clear: clear}
	return e.Append(nil)
}

// timerFunction sets a timer at the time that an element says ("key@time"),
// clears it ("key@"), and emits what fires.
func timerFunction(b *fakesdk.Bundle) error {
	for {
		i, err := b.Next()
		if err != nil {
			return eofOK(err)
		}
		if i.Timer {
			scan, err := newBeamTimers(EventTime)
			if err != nil {
				return err
			}
			for rest := i.Data; len(rest) > 0; {
				var tm Timer
				if tm, rest, err = scan.Decode(rest); err != nil {
					return err
				}
				key, _, _ := NextElement(tm.ID)
				if string(key) == "again" && tm.FireAt < 30 {
					if err := b.EmitTimers(transformID, "t", timerOfKey("again", tm.FireAt+10, false)); err != nil {
						return err
					}
				}
				if err := b.Emit(sinkID, AppendElement(nil, fmt.Appendf(nil, "%s fired at %d", key, tm.FireAt))); err != nil {
					return err
				}
			}
			continue
		}
		for rest := i.Data; len(rest) > 0; {
			var v []byte
			v, rest, _ = NextElement(rest)
			key, at, _ := bytes.Cut(v, []byte("@"))
			var ms int64
			_, _ = fmt.Sscan(string(at), &ms)
			if err := b.EmitTimers(transformID, "t", timerOfKey(string(key), ms, len(at) == 0)); err != nil {
				return err
			}
			if err := b.Emit(sinkID+":side", AppendElement(nil, v)); err != nil {
				return err
			}
		}
	}
}

func TestTimersFireInOrder(t *testing.T) {
	for name, backend := range backends() {
		t.Run(name, func(t *testing.T) {
			p, _ := fakePool(t, 1, timerFunction)
			ctx := deadline(t)
			op, err := p.OpenState(ctx, Function{
				URN: urn.ParDo, Match: Loose, Timers: []TimerFamily{{Name: "t"}}, SideOutputs: []SideOutput{{Tag: "side"}},
			}, untilEnded, backend)
			if err != nil {
				t.Fatal(err)
			}
			defer op.Close()
			send := func(values ...string) {
				if err := op.Send(ctx, batchOf(values, values...)); err != nil {
					t.Fatal(err)
				}
			}
			watermark := func(at int64) {
				if err := op.Watermark(ctx, at); err != nil {
					t.Fatal(err)
				}
			}
			send("a@5", "b@3", "again@10")
			send("c@40", "b@4")
			watermark(4)
			send("a@")
			watermark(35)
			if err := op.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			var got []string
			for range 5 {
				r, err := op.Receive(ctx)
				if err != nil || r.Err != nil {
					t.Fatal(err, r.Err)
				}
				line := strings.Join(elements(r.Data), ", ")
				if r.Mark != nil {
					line = fmt.Sprintf("mark %d: %s", r.Mark.Time, line)
				}
				if len(r.Side["side"]) > 0 {
					line += "side " + strings.Join(elements(r.Side["side"]), " ")
				}
				got = append(got, line)
			}
			want := []string{
				"", "side a@5 b@3 again@10 c@40 b@4", "mark 4: b fired at 4", "side a@",
				"mark 35: again fired at 10, again fired at 20, again fired at 30",
			}
			if !slices.Equal(got, want) {
				t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
