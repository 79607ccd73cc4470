package job

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// harness runs the attempt on an SDK harness.
func (a *attempt) harness(ctx context.Context, res *result) error {
	workers := a.r.workers[a.s.plan.Environment]
	w, err := workers.Get(ctx)
	if err != nil {
		return err
	}
	defer workers.Put(w)
	a.worker.Store(&w)
	chunks, err := a.input()
	if err != nil {
		return err
	}
	if chunks.empty() {
		return nil // what there was to do, the runner has done
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.split.cancel = cancel
	timers := map[timerKey][]byte{}
	b := w.Start(ctx, a.s.descriptor, bundle.Spec{
		Descriptor: a.s.descriptor.Id,
		InputPort:  a.s.plan.InputPort,
		Source:     chunks,
		State:      a,
		Output: func(transform string, data []byte) (err error) {
			defer a.r.guard(&err)
			a.activity.Add(1)
			return a.receive(transform, data)
		},
		DataOutputs:   a.s.dataOutputs(),
		TimerFamilies: a.s.timerFamilies(),
		CacheTokens:   a.cacheTokens(workers.Size() == 1),
		Timer: func(transform, family string, data []byte) error {
			k := timerKey{transform, family}
			if a.s.timers[k] == nil {
				return fmt.Errorf("timers for unknown family %q of transform %q", family, transform)
			}
			timers[k] = append(timers[k], data...)
			return nil
		},
	})
	a.split.running(b)
	out, err := b.Wait()
	a.split.ended()
	if err != nil {
		return err
	}
	if err := a.setTimers(timers); err != nil {
		return err
	}
	if err := a.split.residuals(out.Response.GetResidualRoots()); err != nil {
		return err
	}
	res.infos = a.s.reported(out.Infos)
	if out.Response.GetRequiresFinalization() {
		a.record.Finalize = true
		res.finalize = b.Finalize
	}
	return nil
}

func (s *stage) dataOutputs() []string {
	var ids []string
	for _, o := range s.plan.Outputs {
		ids = append(ids, o.Port)
	}
	return ids
}

func (s *stage) timerFamilies() []bundle.TimerKey {
	var keys []bundle.TimerKey
	for _, k := range s.families {
		keys = append(keys, bundle.TimerKey{Transform: k.transform, Family: k.family})
	}
	return keys
}

// receive takes output bytes of the harness.
func (a *attempt) receive(transform string, data []byte) error {
	port, ok := a.s.ports[transform]
	if !ok {
		return fmt.Errorf("data for unknown output %q", transform)
	}
	return a.outs[port].write(data)
}

// chunks feeds a bundle: timers first, because what they are due for is
// earlier than any element still to come, then the leased blocks.
type chunks struct {
	a      *attempt
	mu     sync.Mutex
	ready  []bundle.Chunk
	blocks []uint64
	counts []int64
	sent   int64
	stop   int64 // index of the first element given back; -1: none
	port   string
	door   admission // stateful stages
}

// empty says that there is nothing to feed.
func (c *chunks) empty() bool { return len(c.ready) == 0 && len(c.blocks) == 0 }

// Next implements bundle.Source.
func (c *chunks) Next(ctx context.Context) (next bundle.Chunk, err error) {
	defer c.a.r.guard(&err)
	if len(c.ready) > 0 {
		next := c.ready[0]
		c.ready = c.ready[1:]
		return next, nil
	}
	c.mu.Lock()
	stopped := c.stop >= 0 && c.sent >= c.stop
	c.mu.Unlock()
	if len(c.blocks) == 0 || stopped {
		return bundle.Chunk{}, io.EOF
	}
	data, err := c.a.r.blocks.get(c.blocks[0])
	if err != nil {
		return bundle.Chunk{}, fmt.Errorf("read block %d: %w", c.blocks[0], err)
	}
	next = bundle.Chunk{Transform: c.port, Data: data, Elements: c.counts[0]}
	c.sent += c.counts[0]
	c.blocks, c.counts = c.blocks[1:], c.counts[1:]
	if c.a.s.admits() {
		if next.Data, next.Elements, err = c.door.admit(data); err != nil {
			return bundle.Chunk{}, err
		}
		if next.Elements == 0 {
			return c.Next(ctx)
		}
	}
	return next, nil
}

// input builds the source of the bundle.
func (a *attempt) input() (*chunks, error) {
	c := &chunks{a: a, stop: -1, port: a.s.plan.InputPort, door: admission{a: a}}
	a.split.source = c
	if err := a.dueTimers(c); err != nil {
		return nil, err
	}
	switch {
	case a.s.plan.TimeSorted && a.s.plan.Streaming:
		return c, a.putAside(c)
	case a.s.plan.TimeSorted:
		return c, a.sorted(c)
	}
	for _, l := range a.ev.Leases {
		for _, b := range l.Blocks {
			c.blocks = append(c.blocks, b.ID)
			c.counts = append(c.counts, b.Count)
		}
	}
	return c, nil
}

// putAside takes the elements without feeding them.
func (a *attempt) putAside(c *chunks) error {
	for _, l := range a.ev.Leases {
		err := a.eachBlock(l, func(data []byte) error {
			_, _, err := c.door.admit(data)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sorted feeds the elements of a complete input in order of timestamp.
func (a *attempt) sorted(c *chunks) error {
	var elems []coder.Element
	for _, l := range a.ev.Leases {
		err := a.eachBlock(l, func(data []byte) error {
			return a.s.input.eachElement(data, func(e *coder.Element) error {
				elems = append(elems, *e)
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	slices.SortStableFunc(elems, func(x, y coder.Element) int {
		switch {
		case x.Timestamp < y.Timestamp:
			return -1
		case x.Timestamp > y.Timestamp:
			return 1
		}
		return 0
	})
	var buf []byte
	n := int64(0)
	for i, e := range elems {
		buf = append(buf, e.Raw...)
		n++
		if len(buf) >= a.r.blocks.bytes || i == len(elems)-1 {
			if a.s.admits() {
				if _, _, err := c.door.admit(buf); err != nil {
					return err
				}
			}
			c.ready = append(c.ready, bundle.Chunk{Transform: c.port, Data: buf, Elements: n})
			buf, n = nil, 0
		}
	}
	return nil
}

// maxDueTimers is how many timers of a shard one bundle fires.
const maxDueTimers = 10_000

// dueTimers takes the timers that are due and feeds them. Of one key only the
// earliest instant is taken: what the SDK does then may set or clear the next.
func (a *attempt) dueTimers(c *chunks) error {
	if a.timers == nil {
		return nil
	}
	for _, l := range a.ev.Leases {
		due, err := a.timers.Due(l.Shard, table.EventTime, int64(a.ev.Watermark), maxDueTimers)
		if err != nil {
			return err
		}
		if due, err = a.ownTimers(c, l.Shard, due); err != nil {
			return err
		}
		proc, err := a.timers.Due(l.Shard, table.ProcessingTime, a.ev.ProcDueMS, maxDueTimers)
		if err != nil {
			return err
		}
		if err := a.fire(c, l.Shard, earliest(due)); err != nil {
			return err
		}
		if err := a.fire(c, l.Shard, earliest(proc)); err != nil {
			return err
		}
	}
	return nil
}

// earliest keeps the timers of each key that share its smallest fire time.
func earliest(due []table.Timer) []table.Timer {
	first := map[string]int64{}
	kept := due[:0]
	for _, t := range due {
		at, seen := first[string(t.Key)]
		if !seen {
			first[string(t.Key)] = t.Fire
		} else if at != t.Fire {
			continue
		}
		kept = append(kept, t)
	}
	return kept
}

// fire removes timers from the table and feeds them to the harness.
func (a *attempt) fire(c *chunks, shard int, due []table.Timer) error {
	for _, t := range due {
		if err := a.timers.Clear(shard, t); err != nil {
			return err
		}
		pane := t.Pane
		if len(pane) == 0 {
			pane = coder.NoFiring
		}
		e := coder.TimerElement{Key: t.Key, Tag: t.Tag, Windows: t.Window, NumWindows: 1,
			Fire: timestamp.Time(t.Fire), Hold: t.Hold, Pane: pane} // no hold, too, is told back
		data := e.Append(nil)
		if n := len(c.ready); n > 0 && c.ready[n-1].Family == t.Family && c.ready[n-1].Transform == t.Transform {
			c.ready[n-1].Data = append(c.ready[n-1].Data, data...)
			c.ready[n-1].Elements++
			continue
		}
		c.ready = append(c.ready, bundle.Chunk{Transform: t.Transform, Family: t.Family, Data: data, Elements: 1})
	}
	return nil
}

// setTimers applies what the harness set and cleared, in order.
func (a *attempt) setTimers(streams map[timerKey][]byte) error {
	for _, k := range a.s.families {
		f := a.s.timers[k]
		var e coder.TimerElement
		for data := streams[k]; len(data) > 0; {
			n, err := f.scanner.Scan(data, &e)
			if err != nil {
				return fmt.Errorf("timer family %s of transform %s: %w", k.family, k.transform, err)
			}
			data = data[n:]
			if err := a.setTimer(k, f, &e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *attempt) setTimer(k timerKey, f *timerFamily, e *coder.TimerElement) error {
	shard, err := a.shardOf(e.Key)
	if err != nil {
		return err
	}
	t := table.Timer{Transform: k.transform, Family: k.family, Key: e.Key, Tag: e.Tag,
		Domain: table.EventTime, Fire: int64(timestamp.Clamp(int64(e.Fire))), Hold: e.Hold, Pane: e.Pane}
	if f.spec.Processing {
		t.Domain = table.ProcessingTime
		if a.r.virtual {
			// The SDK's clock is the wall's: keep the distance.
			t.Fire = a.ev.NowMS + t.Fire - a.r.now()
		}
	}
	return f.scanner.EachWindow(e, func(w []byte) error {
		t.Window = w
		if e.Clear {
			return a.timers.Clear(shard, t)
		}
		return a.timers.Set(shard, t)
	})
}

// shardOf returns the shard of a key, which this bundle must have leased.
func (a *attempt) shardOf(key []byte) (int, error) {
	shard := keyspace.ShardOf(key, a.r.shards)
	for _, l := range a.ev.Leases {
		if l.Shard == shard {
			return shard, nil
		}
	}
	return 0, fmt.Errorf("key %x is not one of this bundle", key)
}

// State implements fnapi.StateHandler.
func (a *attempt) State(_ context.Context, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	a.activity.Add(1)
	switch k := req.GetStateKey().GetType().(type) {
	case *fnpb.StateKey_IterableSideInput_:
		q := k.IterableSideInput
		return a.sideState(req, q.GetTransformId(), q.GetSideInputId(), sideRequest{kind: sideAll, window: q.GetWindow()})
	case *fnpb.StateKey_MultimapSideInput_:
		q := k.MultimapSideInput
		return a.sideState(req, q.GetTransformId(), q.GetSideInputId(), sideRequest{kind: sideValues, window: q.GetWindow(), key: q.GetKey()})
	case *fnpb.StateKey_MultimapKeysSideInput_:
		q := k.MultimapKeysSideInput
		return a.sideState(req, q.GetTransformId(), q.GetSideInputId(), sideRequest{kind: sideKeys, window: q.GetWindow()})
	case *fnpb.StateKey_MultimapKeysValuesSideInput_:
		q := k.MultimapKeysValuesSideInput
		return a.sideState(req, q.GetTransformId(), q.GetSideInputId(), sideRequest{kind: sideKeysValues, window: q.GetWindow()})
	case *fnpb.StateKey_Runner_:
		return a.pagedState(req, k.Runner.GetKey())
	case *fnpb.StateKey_BagUserState_:
		return a.userState(req, k.BagUserState.GetKey())
	case *fnpb.StateKey_MultimapUserState_:
		return a.userState(req, k.MultimapUserState.GetKey())
	case *fnpb.StateKey_MultimapKeysUserState_:
		return a.userState(req, k.MultimapKeysUserState.GetKey())
	case *fnpb.StateKey_OrderedListUserState_:
		return a.userState(req, k.OrderedListUserState.GetKey())
	}
	if k, ok := table.EntriesKey(req.GetStateKey()); ok {
		return a.userState(req, k.GetKey())
	}
	return nil, fmt.Errorf("state key of a kind that is not supported: %T", req.GetStateKey().GetType())
}

// userState serves state of the key that is being processed.
func (a *attempt) userState(req *fnpb.StateRequest, key []byte) (*fnpb.StateResponse, error) {
	if a.state == nil {
		return nil, fmt.Errorf("stage %s has no user state", a.s.plan.Name)
	}
	shard, err := a.shardOf(key)
	if err != nil {
		return nil, err
	}
	a.split.mu.Lock()
	defer a.split.mu.Unlock()
	return a.state.Handle(shard, req)
}

// sideState serves a side input.
func (a *attempt) sideState(req *fnpb.StateRequest, transform, local string, q sideRequest) (*fnpb.StateResponse, error) {
	get := req.GetGet()
	if get == nil {
		return nil, fmt.Errorf("side input %s of %s can only be read", local, transform)
	}
	q.token = get.GetContinuationToken()
	for _, s := range a.s.sides {
		if s.spec.Transform != transform || s.spec.Local != local {
			continue
		}
		resp, err := s.read(q, &a.sides)
		if err != nil {
			return nil, err
		}
		return &fnpb.StateResponse{Id: req.GetId(), Response: &fnpb.StateResponse_Get{Get: resp}}, nil
	}
	return nil, fmt.Errorf("unknown side input %s of transform %s", local, transform)
}
