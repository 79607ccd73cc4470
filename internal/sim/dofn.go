package sim

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// note is what a check node has seen.
type note struct {
	node *node
	e    elem
	pane string
}

// doFn is the user code of all ParDos.
func (b *simBundle) doFn(s *step, d datum) error {
	n := s.node
	switch n.op {
	case create, read, stream:
		return b.source(s, d)
	case events:
		all, _, err := texts(d.value, 1)
		if err != nil {
			return err
		}
		key, value, _ := strings.Cut(all[0], "|")
		b.t.notes = append(b.t.notes, note{n, elem{key, value, d.ts, d.wins[0]}, ""})
		d.value = kv(key, value)
		return b.emit(s.out, d)
	case digest, explode:
		return b.group(s, d)
	}
	all, rest, err := texts(d.value, 2)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes too many", len(rest))
	}
	if err != nil {
		return err
	}
	if n.op == alter {
		for _, x := range n.altered(elem{key: all[0], value: all[1]}) {
			d.value = kv(x.key, x.value)
			if err := b.emit(s.out, d); err != nil {
				return err
			}
		}
		return nil
	}
	return d.single(func(d datum) error {
		e := elem{all[0], all[1], d.ts, d.wins[0]}
		switch n.op {
		case check:
			b.t.notes = append(b.t.notes, note{n, e, fmt.Sprintf("pane %x", d.pane)})
			return nil
		case side:
			return b.side(s, d, e)
		case count:
			return b.count(s, d, e)
		case buffer:
			return b.buffer(s, e)
		case loop:
			return b.startLoop(s, e)
		case inOrder:
			return b.ordered(s, d, e)
		case expire:
			return b.untilExpiry(s, e)
		}
		return fmt.Errorf("%s is no DoFn", n.op)
	})
}

// source puts out what a source has: its elements, or its keys for the SDF.
func (b *simBundle) source(s *step, d datum) error {
	if s.node.op == create {
		for _, e := range s.node.src {
			b.t.notes = append(b.t.notes, note{s.node, e, ""})
			if err := b.emit(s.out, datum{ts: e.ts, wins: d.wins, value: kv(e.key, e.value)}); err != nil {
				return err
			}
		}
		return nil
	}
	keys := map[string]bool{}
	for _, e := range s.node.src {
		keys[e.key] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		d.value = kv(k, "")
		if err := b.emit(s.out, d); err != nil {
			return err
		}
	}
	return nil
}

// group is what follows a GroupByKey.
func (b *simBundle) group(s *step, d datum) error {
	key, values, err := grouped(d.value)
	if err != nil {
		return err
	}
	if s.node.op == digest {
		if len(values) == 0 {
			return nil // of an empty pane
		}
		values = []string{digestOf(values)}
	}
	for _, v := range values {
		d.value = kv(key, v)
		if err := b.emit(s.out, d); err != nil {
			return err
		}
	}
	return nil
}

// sums are the accumulators of precombine steps, in order of first use.
type sums struct {
	index map[string]*partial
	order []*partial
}

type partial struct {
	s            *step
	key          string
	win          span
	count, total int64
	stamps       []timestamp.Time
}

func (p *sums) add(s *step, d datum) error {
	all, _, err := texts(d.value, 2)
	if err != nil {
		return err
	}
	id := s.id + "|" + all[0] + "|" + d.wins[0].String()
	x := p.index[id]
	if x == nil {
		if p.index == nil {
			p.index = map[string]*partial{}
		}
		x = &partial{s: s, key: all[0], win: d.wins[0]}
		p.index[id] = x
		p.order = append(p.order, x)
	}
	x.count++
	x.total += weight(all[1])
	x.stamps = append(x.stamps, d.ts)
	return nil
}

// flush puts the accumulators out at the end of a bundle.
func (p *sums) flush(b *simBundle) error {
	for _, x := range p.order {
		ts := x.s.node.in[0].w.stamp(x.win, x.stamps)
		if err := b.emit(x.s.out, datum{ts: ts, wins: []span{x.win}, value: kv(x.key, sum(x.count, x.total))}); err != nil {
			return err
		}
	}
	return nil
}

// mergeSums adds up the accumulators of a pane.
func (b *simBundle) mergeSums(s *step, d datum) error {
	return b.addUp(s, d, func(v string) (count, total int64, err error) {
		_, err = fmt.Sscanf(v, "c%d:%d", &count, &total)
		return count, total, err
	})
}

// combineValues combines the values of a pane.
func (b *simBundle) combineValues(s *step, d datum) error {
	return b.addUp(s, d, func(v string) (int64, int64, error) { return 1, weight(v), nil })
}

func (b *simBundle) addUp(s *step, d datum, of func(string) (count, total int64, err error)) error {
	key, values, err := grouped(d.value)
	if err != nil || len(values) == 0 {
		return err
	}
	var count, total int64
	for _, v := range values {
		c, t, err := of(v)
		if err != nil {
			return err
		}
		count, total = count+c, total+t
	}
	d.value = kv(key, sum(count, total))
	return b.emit(s.out, d)
}

// side adds what a side input has to an element.
func (b *simBundle) side(s *step, d datum, e elem) error {
	win := s.node.in[1].w.side(e.win).encode(nil)
	k := &fnpb.StateKey{}
	if s.node.multimap {
		k.Type = &fnpb.StateKey_MultimapSideInput_{MultimapSideInput: &fnpb.StateKey_MultimapSideInput{
			TransformId: s.id, SideInputId: "i1", Window: win, Key: encodeText(e.key)}}
	} else {
		k.Type = &fnpb.StateKey_IterableSideInput_{IterableSideInput: &fnpb.StateKey_IterableSideInput{
			TransformId: s.id, SideInputId: "i1", Window: win}}
	}
	data, err := b.get(k)
	if err != nil {
		return err
	}
	var values []string
	for len(data) > 0 {
		n := 2
		if s.node.multimap {
			n = 1
		}
		var all []string
		if all, data, err = texts(data, n); err != nil {
			return err
		}
		values = append(values, all[n-1])
	}
	d.value = kv(e.key, sided(e.value, values))
	return b.emit(s.out, d)
}

// get reads all pages of a state.
func (b *simBundle) get(k *fnpb.StateKey) ([]byte, error) {
	var data, token []byte
	for {
		if b.w.rng.IntN(4) == 0 {
			if err := b.pause(); err != nil {
				return nil, err
			}
		}
		resp, err := b.spec.State.State(b.ctx, &fnpb.StateRequest{StateKey: k,
			Request: &fnpb.StateRequest_Get{Get: &fnpb.StateGetRequest{ContinuationToken: token}}})
		if err != nil {
			return nil, err
		}
		data = append(data, resp.GetGet().GetData()...)
		if token = resp.GetGet().GetContinuationToken(); len(token) == 0 {
			return data, nil
		}
	}
}

// cell is a state cell of a key and window.
type cell struct {
	b    *simBundle
	key  *fnpb.StateKey
	id   string // for the cache; empty if there is none
	data []byte
}

// cell reads a state cell, from the worker's cache if the runner allows it.
func (b *simBundle) cell(s *step, name, key string, win span) (*cell, error) {
	c := &cell{b: b, key: &fnpb.StateKey{Type: &fnpb.StateKey_BagUserState_{BagUserState: &fnpb.StateKey_BagUserState{
		TransformId: s.id, UserStateId: name, Window: win.encode(nil), Key: encodeText(key)}}}}
	for _, t := range b.spec.CacheTokens {
		if t.GetUserState() != nil {
			c.id = fmt.Sprintf("%s|%s|%s|%s|%v", t.GetToken(), s.id, name, key, win)
		}
	}
	data, cached := b.t.worker.cache[c.id]
	if c.id == "" || !cached {
		var err error
		if data, err = b.get(c.key); err != nil {
			return nil, err
		}
	}
	c.data = data
	return c, nil
}

func (c *cell) keep(data []byte) {
	c.data = slices.Clone(data)
	if c.id != "" {
		c.b.t.worker.cache[c.id] = c.data
	}
}

func (c *cell) append(data []byte) error {
	_, err := c.b.spec.State.State(c.b.ctx, &fnpb.StateRequest{StateKey: c.key,
		Request: &fnpb.StateRequest_Append{Append: &fnpb.StateAppendRequest{Data: data}}})
	c.keep(append(slices.Clone(c.data), data...))
	return err
}

func (c *cell) clear() error {
	_, err := c.b.spec.State.State(c.b.ctx, &fnpb.StateRequest{StateKey: c.key,
		Request: &fnpb.StateRequest_Clear{Clear: &fnpb.StateClearRequest{}}})
	c.keep(nil)
	return err
}

// set writes value state.
func (c *cell) set(data []byte) error {
	if err := c.clear(); err != nil || len(data) == 0 {
		return err
	}
	return c.append(data)
}

// count numbers the elements of a key and window. The number is kept twice, as
// a value and as the length of a bag.
func (b *simBundle) count(s *step, d datum, e elem) error {
	value, err := b.cell(s, cellValue, e.key, e.win)
	if err != nil {
		return err
	}
	bag, err := b.cell(s, cellBag, e.key, e.win)
	if err != nil {
		return err
	}
	n, _ := binary.Uvarint(value.data)
	if int(n) != len(bag.data) {
		b.w.fail("%s: key %s, window %v: the value is %d, but the bag has %d entries", s.id, e.key, e.win, n, len(bag.data))
	}
	if err := bag.append([]byte{1}); err != nil {
		return err
	}
	if err := value.set(binary.AppendUvarint(nil, n+1)); err != nil {
		return err
	}
	d.ts, d.value = e.win.max(), kv(e.key, fmt.Sprintf("n%d", n+1))
	return b.emit(s.out, d)
}

// ordered passes an element on. The value is the timestamp of the one before.
func (b *simBundle) ordered(s *step, d datum, e elem) error {
	last, err := b.cell(s, cellValue, e.key, e.win)
	if err != nil {
		return err
	}
	if len(last.data) > 0 && timestamp.Time(binary.BigEndian.Uint64(last.data)) > e.ts {
		b.w.fail("%s: key %s, window %v: an element at %d is behind the one before", s.id, e.key, e.win, int64(e.ts))
	}
	if err := last.set(binary.BigEndian.AppendUint64(nil, uint64(e.ts))); err != nil {
		return err
	}
	return b.emit(s.out, d)
}

func encodeText(s string) []byte { return kv(s, "")[:1+len(s)] }
