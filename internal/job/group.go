package job

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/engine/reduce"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/shuffle"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// onlyFiring is the pane of a window that fires exactly once, on time.
var onlyFiring = coder.Pane{Timing: coder.OnTime, First: true, Last: true}.Append(nil)

// shuffle groups the whole input of the leased shards.
func (a *attempt) shuffle(ctx context.Context) error {
	all, ok, err := a.arrived()
	switch {
	case err != nil:
	case ok:
		err = a.shuffleBlocks(ctx, once(all))
	default:
		for _, l := range a.ev.Leases {
			if err = a.shuffleBlocks(ctx, a.leased(l)); err != nil {
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("group %s: %w", a.s.plan.Group.Transform, err)
	}
	return nil
}

// leased reads the blocks of a lease, one after another.
func (a *attempt) leased(l core.Lease) func() ([]byte, error) {
	blocks := l.Blocks
	return func() ([]byte, error) {
		if len(blocks) == 0 {
			return nil, io.EOF
		}
		data, err := a.r.blocks.get(blocks[0].ID)
		blocks = blocks[1:]
		return data, err
	}
}

func (a *attempt) shuffleBlocks(ctx context.Context, next func() ([]byte, error)) error {
	cfg := shuffle.Config{
		Scanner: a.s.input.scanner, KV: a.s.input.elem, Strategy: a.s.strategy,
		MemoryBudget: a.r.memory, Dir: a.r.tempDir, Merge: a.merge(ctx),
	}
	return shuffle.Group(ctx, next, cfg, func(g *shuffle.Grouped) error {
		return a.pane(g.Key, reduce.Firing{Window: g.Window, Timestamp: g.Timestamp, Count: g.Count, Values: g.Values}, onlyFiring)
	})
}

// pane emits KV<key, iterable<value>> to every output.
func (a *attempt) pane(key []byte, f reduce.Firing, pane []byte) error {
	if f.Count > math.MaxInt32 {
		return fmt.Errorf("key %x has %d values in one pane, more than an iterable can hold", key, f.Count)
	}
	for _, o := range a.outs {
		err := o.emit(f.Timestamp, f.Window, 1, pane, func(dst []byte) ([]byte, error) {
			return a.appendIterable(append(dst, key...), f)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// reduce groups incrementally: due timers first, then the elements.
func (a *attempt) reduce(ctx context.Context) error {
	for _, l := range a.ev.Leases {
		g := &keyGroups{a: a, ctx: ctx, shard: l.Shard, holds: table.NewHolds(a.txn, a.r.job, a.ev.Stage)}
		if err := g.timers(); err != nil {
			return fmt.Errorf("group %s: %w", a.s.plan.Group.Transform, err)
		}
		err := a.eachBlock(l, func(data []byte) error { return a.s.input.eachElement(data, g.collect) })
		if err == nil {
			err = g.elements()
		}
		if err != nil {
			return fmt.Errorf("group %s: %w", a.s.plan.Group.Transform, err)
		}
	}
	return nil
}

// keyGroups collects the elements of a shard by key, in order of first arrival,
// so that each key's windows are read and written once a bundle.
type keyGroups struct {
	a     *attempt
	ctx   context.Context
	shard int
	holds *table.Holds
	index map[string]int
	keys  [][]byte
	elems [][]coder.Element
	seq   uint32
}

func (g *keyGroups) collect(e *coder.Element) error {
	key, value, err := coder.SplitKV(g.a.s.input.elem, e.Value)
	if err != nil {
		return err
	}
	i, ok := g.index[string(key)]
	if !ok {
		if g.index == nil {
			g.index = map[string]int{}
		}
		i = len(g.keys)
		g.index[string(key)] = i
		g.keys = append(g.keys, key)
		g.elems = append(g.elems, nil)
	}
	v := *e
	v.Value = value
	g.elems[i] = append(g.elems[i], v)
	return nil
}

func (g *keyGroups) elements() error {
	for i, key := range g.keys {
		if err := g.a.s.reducer.Elements(g.env(key), key, g.elems[i]); err != nil {
			return err
		}
	}
	return nil
}

// timers fires what is due, in order of time.
func (g *keyGroups) timers() error {
	for _, d := range []struct {
		domain table.Domain
		upTo   int64
	}{{table.EventTime, int64(g.a.ev.Watermark)}, {table.ProcessingTime, g.a.ev.ProcDueMS}} {
		due, err := g.a.timers.Due(g.shard, d.domain, d.upTo, maxDueTimers)
		if err != nil {
			return err
		}
		for _, t := range due {
			if err := g.timer(t); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *keyGroups) timer(t table.Timer) error {
	if err := g.a.timers.Clear(g.shard, t); err != nil {
		return err
	}
	due := reduce.Due{Window: t.Window, Tag: string(t.Tag), Domain: reduce.EventTime, Fire: t.Fire}
	if t.Domain == table.ProcessingTime {
		due.Domain = reduce.ProcessingTime
		if t.Family == syncFamily {
			due.Domain = reduce.SyncProcessingTime
		}
	}
	return g.a.s.reducer.Timer(g.env(t.Key), t.Key, due)
}

// env is what the reducer works on for one key.
func (g *keyGroups) env(key []byte) *reduce.Env {
	a := g.a
	return &reduce.Env{
		KV:        a.txn,
		Prefix:    keyspace.Reduce(a.r.job, a.ev.Stage, g.shard, key),
		Timers:    &keyTimers{g: g, key: key},
		Holds:     &keyHolds{g: g, key: key},
		Watermark: a.ev.Watermark,
		NowMS:     a.ev.NowMS,

		OutputWatermark: &a.ev.Output,
		Windows:         a.s.input.scanner.EachWindow,
		SyncNowMS:       a.ev.SyncNowMS,
		Merge:           a.merge(g.ctx),
		Dropped:         func(n int) { a.dropped += int64(n) },
		Seq: func() uint64 {
			g.seq++
			return a.ev.Bundle<<32 | uint64(g.seq)
		},
		Emit: func(f reduce.Firing) error { return a.pane(key, f, f.Pane.Append(nil)) },
	}
}

// syncFamily marks timers in synchronized processing time.
const syncFamily = "sync"

// keyTimers are the timers of one key of a Group stage.
type keyTimers struct {
	g   *keyGroups
	key []byte
}

func (k *keyTimers) timer(win []byte, tag string, d reduce.Domain) table.Timer {
	t := table.Timer{Key: k.key, Tag: []byte(tag), Window: win, Domain: table.EventTime, Hold: commitNone}
	switch d {
	case reduce.ProcessingTime:
		t.Domain, t.Family = table.ProcessingTime, "proc"
	case reduce.SyncProcessingTime:
		t.Domain, t.Family = table.ProcessingTime, syncFamily
	}
	return t
}

func (k *keyTimers) Set(win []byte, tag string, d reduce.Domain, fire int64) error {
	t := k.timer(win, tag, d)
	t.Fire = fire
	return k.g.a.timers.Set(k.g.shard, t)
}

func (k *keyTimers) Clear(win []byte, tag string, d reduce.Domain) error {
	return k.g.a.timers.Clear(k.g.shard, k.timer(win, tag, d))
}

// keyHolds are the watermark holds of one key of a Group stage.
type keyHolds struct {
	g   *keyGroups
	key []byte
}

func (k *keyHolds) owner(owner []byte) []byte {
	b := binary.AppendUvarint(nil, uint64(len(k.key)))
	return append(append(b, k.key...), owner...)
}

func (k *keyHolds) Set(owner []byte, t timestamp.Time) error {
	return k.g.holds.Set(k.g.shard, k.owner(owner), t)
}

func (k *keyHolds) Clear(owner []byte) error {
	return k.g.holds.Clear(k.g.shard, k.owner(owner))
}

// testEvent emits the elements of a TestStream event.
func (a *attempt) testEvent() error {
	event := a.ev.Event.GetElementEvent()
	port := core.TestStreamPort(a.s.plan, event.GetTag())
	if port < 0 {
		return fmt.Errorf("a TestStream event for output %q, which does not exist", event.GetTag())
	}
	o := a.outs[port]
	for i, e := range event.GetElements() {
		// The plan sees to it that this is the wire encoding, if it is one at all.
		raw := e.GetEncodedElement()
		if n, err := o.coll.elem.Skip(raw); err != nil || n < len(raw) {
			return fmt.Errorf("element %d of a TestStream event for output %q is not an encoding of %s", i, event.GetTag(), a.s.plan.TestStream.GetCoderId())
		}
		err := o.emit(timestamp.Clamp(e.GetTimestamp()), nil, 1, coder.NoFiring, func(dst []byte) ([]byte, error) {
			return append(dst, raw...), nil
		})
		if err != nil {
			return fmt.Errorf("a TestStream event for output %q: %w", event.GetTag(), err)
		}
	}
	return nil
}
