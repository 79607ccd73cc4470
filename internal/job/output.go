package job

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
)

// sink is one consumer of an output.
type sink struct {
	keyed    bool
	ends     bool       // wants to know when windows end
	builders []*builder // by shard
}

// output cuts the elements of one output of a bundle into blocks for each of
// its consumers. Nothing that it writes is visible before the bundle's record
// commits.
type output struct {
	name    string // for errors
	coll    *collection
	sinks   []sink
	carry   []byte // the beginning of an element whose end has not come
	outputs *[]commit.Output
	count   int64
	shards  int
	elem    coder.Element
	scratch []byte
}

// newOutput makes the writer of output port of a stage.
func (r *runner) newOutput(s *stage, port int, rec *commit.Record) *output {
	po := s.plan.Outputs[port]
	o := &output{name: po.Collection.ID, coll: s.outputs[port], outputs: &rec.Outputs, shards: r.shards}
	for i, c := range po.Consumers {
		to := r.stages[c.Stage].plan
		k := sink{keyed: c.Side < 0 && to.Keyed, ends: c.Side < 0 && to.WindowedSides()}
		n := 1
		if k.keyed {
			n = r.shards
		}
		spread := c.Side < 0 && (to.Spread || to.Splittable)
		for shard := range n {
			b := newBuilder(r.blocks, spread, func(b commit.Block) {
				*o.outputs = append(*o.outputs, commit.Output{Port: port, Consumer: i, Shard: shard, Block: b})
			})
			if k.keyed && to.Group != nil && to.Group.Strategy == plan.Shuffle {
				b.order = &arrival{bundle: rec.Bundle, port: port}
			}
			if c.Side < 0 {
				b.limit = r.maxInput(to)
			}
			k.builders = append(k.builders, b)
		}
		o.sinks = append(o.sinks, k)
	}
	return o
}

// write takes bytes of the stream of encoded elements; an element may begin in
// one call and end in a later one. data may be kept.
func (o *output) write(data []byte) error {
	if len(o.carry) > 0 {
		data = append(o.carry, data...)
		o.carry = nil
	}
	var run struct {
		from  int
		count int64
		first timestamp.Time
	}
	run.first = commit.None
	off := 0
	for off < len(data) {
		n, err := o.coll.scanner.Scan(data[off:], &o.elem)
		if errors.Is(err, coder.ErrTruncated) {
			o.carry = slices.Clone(data[off:])
			break
		}
		if err != nil {
			return fmt.Errorf("output %s: element %d: %w", o.name, o.count, err)
		}
		off += n
		o.count++
		run.count++
		run.first = min(run.first, o.elem.Timestamp)
		if err := o.unkeyedEnds(&o.elem); err != nil {
			return err
		}
		if err := o.keyed(&o.elem); err != nil {
			return err
		}
	}
	if run.count == 0 {
		return nil
	}
	for i := range o.sinks {
		k := &o.sinks[i]
		if k.keyed {
			continue
		}
		b := k.builders[0]
		if b.spread || b.limit > 0 {
			if err := o.each(data[:off], b); err != nil {
				return err
			}
		} else if err := b.addRun(data[:off:off], run.count, run.first); err != nil {
			return err
		}
	}
	return nil
}

// each adds the elements of a run one by one.
func (o *output) each(run []byte, b *builder) error {
	var e coder.Element
	for len(run) > 0 {
		n, err := o.coll.scanner.Scan(run, &e)
		if err != nil {
			return err
		}
		if err := b.add(run[:n], e.Timestamp); err != nil {
			return err
		}
		run = run[n:]
	}
	return nil
}

// keyed gives an element to the keyed consumers.
func (o *output) keyed(e *coder.Element) error {
	shard := -1
	for i := range o.sinks {
		k := &o.sinks[i]
		if !k.keyed {
			continue
		}
		if shard < 0 {
			key, _, err := coder.SplitKV(o.coll.elem, e.Value)
			if err != nil {
				return fmt.Errorf("output %s: element %d: %w", o.name, o.count, err)
			}
			shard = keyspace.ShardOf(key, o.shards)
		}
		k.builders[shard].order.note(o.count)
		if k.ends {
			if err := k.builders[shard].noteEnds(o.coll, e); err != nil {
				return err
			}
		}
		if err := k.builders[shard].add(e.Raw, e.Timestamp); err != nil {
			return err
		}
	}
	return nil
}

// unkeyedEnds notes the ends of an element's windows for the consumers without
// keys that want to know them.
func (o *output) unkeyedEnds(e *coder.Element) error {
	for i := range o.sinks {
		if k := &o.sinks[i]; k.ends && !k.keyed {
			if err := k.builders[0].noteEnds(o.coll, e); err != nil {
				return fmt.Errorf("output %s: element %d: %w", o.name, o.count, err)
			}
		}
	}
	return nil
}

// emit writes one element that the runner itself made.
func (o *output) emit(t timestamp.Time, windows []byte, n int, pane []byte, value func(dst []byte) ([]byte, error)) error {
	buf := coder.AppendHeader(o.scratch[:0], t, windows, n, pane)
	header := len(buf)
	buf, err := value(buf)
	if err != nil {
		return err
	}
	o.scratch = buf
	o.count++
	e := coder.Element{Timestamp: t, Windows: windows, NumWindows: n, Pane: pane, Value: buf[header:], Raw: buf}
	if err := o.unkeyedEnds(&e); err != nil {
		return err
	}
	if err := o.keyed(&e); err != nil {
		return err
	}
	for i := range o.sinks {
		if k := &o.sinks[i]; !k.keyed {
			if err := k.builders[0].add(buf, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// close flushes all blocks. An element that has not ended is an error.
func (o *output) close() error {
	if len(o.carry) > 0 {
		return fmt.Errorf("output %s: the stream ended in the middle of element %d", o.name, o.count)
	}
	for i := range o.sinks {
		for _, b := range o.sinks[i].builders {
			if err := b.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
