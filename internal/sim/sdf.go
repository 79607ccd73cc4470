package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// A restriction is a range of numbers [from, to). Of a source it counts the
// elements of a key, otherwise the parts of an element.

func restriction(from, to int64) []byte {
	return coder.AppendBytes(nil, fmt.Appendf(nil, "%d:%d", from, to))
}

// sized encodes KV<KV<element, restriction>, size>.
func sized(element []byte, from, to int64) []byte {
	b := append(append([]byte(nil), element...), restriction(from, to)...)
	return binary.BigEndian.AppendUint64(b, math.Float64bits(float64(to-from)))
}

// pair gives an element its whole restriction.
func (b *simBundle) pair(s *step, d datum) error {
	all, _, err := texts(d.value, 2)
	if err != nil {
		return err
	}
	n := s.node.parts(all[1])
	if s.node.op != expand {
		n = int64(len(s.node.ofKey(all[0])))
	}
	d.value = append(append([]byte(nil), d.value...), restriction(0, n)...)
	return b.emit(s.out, d)
}

// ofKey are the elements of a source with a key.
func (n *node) ofKey(key string) []elem {
	var all []elem
	for _, e := range n.src {
		if e.key == key {
			all = append(all, e)
		}
	}
	return all
}

// parseRestriction reads KV<element, restriction>.
func parseRestriction(value []byte) (element []byte, key, text string, from, to int64, rest []byte, err error) {
	all, rest, err := texts(value, 3)
	if err == nil {
		_, err = fmt.Sscanf(all[2], "%d:%d", &from, &to)
	}
	if err != nil {
		return nil, "", "", 0, 0, nil, err
	}
	return kv(all[0], all[1]), all[0], all[1], from, to, rest, nil
}

// splitAndSize cuts a restriction into some.
func (b *simBundle) splitAndSize(s *step, d datum) error {
	element, _, _, from, to, _, err := parseRestriction(d.value)
	if err != nil {
		return err
	}
	for first := true; from < to || first; first = false {
		next := to
		if to-from > 1 && b.w.rng.IntN(2) == 0 {
			next = from + 1 + b.w.rng.Int64N(to-from-1)
		}
		d.value = sized(element, from, next)
		if err := b.emit(s.out, d); err != nil {
			return err
		}
		from = next
	}
	return nil
}

// truncate shortens a restriction because the job is drained: that of a stream
// by half or to nothing, no other.
func (b *simBundle) truncate(s *step, d datum) error {
	element, key, _, from, to, _, err := parseRestriction(d.value)
	if err != nil {
		return err
	}
	if s.node.op == stream {
		to = from + (to-from)/2*int64(hash(key)%2)
	}
	if from == to {
		return nil
	}
	d.value = sized(element, from, to)
	return b.emit(s.out, d)
}

// claim is a restriction in process: elements from pos to to are still to come.
type claim struct {
	s             *step
	d             datum
	element       []byte
	key           string
	from, pos, to int64
}

// restriction processes a restriction, until it is done or it rests.
func (b *simBundle) restriction(s *step, d datum) error {
	element, key, text, from, to, _, err := parseRestriction(d.value)
	if err != nil {
		return err
	}
	c := &claim{s: s, d: d, element: element, key: key, from: from, pos: from, to: to}
	b.claim = c
	defer func() { b.claim = nil }()
	var src []elem
	if s.node.op != expand {
		src = s.node.ofKey(key)
	}
	for {
		if err := b.pause(); err != nil {
			return err
		}
		if c.pos >= c.to {
			return nil
		}
		if n := s.node.rests; n > 0 && b.w.rng.IntN(n+1) == 0 {
			b.roots = append(b.roots, c.residual(c.pos, c.to, time.Duration(b.w.rng.IntN(300))*time.Millisecond))
			c.to = c.pos
			b.finalize = b.finalize || s.node.finalize
			return nil
		}
		i := c.pos
		c.pos++
		out := datum{ts: d.ts, wins: d.wins, pane: d.pane}
		if src == nil {
			out.value = kv(key, part(text, i))
		} else {
			out.ts, out.value = src[i].ts, kv(key, src[i].value)
			b.t.notes = append(b.t.notes, note{s.node, src[i], ""})
		}
		if err := b.emit(s.out, out); err != nil {
			return err
		}
	}
}

// application is a part of the restriction as an element of the stage's input.
func (c *claim) application(from, to int64) *fnpb.BundleApplication {
	var wins []byte
	for _, w := range c.d.wins {
		wins = w.encode(wins)
	}
	app := &fnpb.BundleApplication{
		TransformId: c.s.id, InputId: c.s.inName,
		Element: append(coder.AppendHeader(nil, c.d.ts, wins, len(c.d.wins), c.d.pane), sized(c.element, from, to)...),
	}
	if n := c.s.node; n.op == stream {
		app.IsBounded = pipepb.IsBounded_UNBOUNDED
		at := n.estimate(c.key, from, to)
		app.OutputWatermarks = map[string]*timestamppb.Timestamp{c.s.outName: timestamppb.New(time.UnixMilli(int64(at)))}
	}
	return app
}

func (c *claim) residual(from, to int64, delay time.Duration) *fnpb.DelayedBundleApplication {
	r := &fnpb.DelayedBundleApplication{Application: c.application(from, to)}
	if delay > 0 {
		r.RequestedTimeDelay = durationpb.New(delay)
	}
	return r
}

// estimate is the watermark of what a stream has left. Late ones boast.
func (n *node) estimate(key string, from, to int64) timestamp.Time {
	t := firstTime + timeRange
	for _, e := range n.ofKey(key)[from:to] {
		t = min(t, e.ts)
	}
	if n.late {
		t = t.Add(int64(hash(key, n.id) % 200))
	}
	return t
}

// Split implements job.Bundle: it gives back a part of what is left of the
// bundle, be it elements or a part of the restriction in process.
func (b *simBundle) Split(_ context.Context, fraction float64, estimated int64, _ []int64) (*fnpb.ProcessBundleSplitResponse, error) {
	none := &fnpb.ProcessBundleSplitResponse{}
	if b.over || b.ended || b.w.rng.IntN(8) == 0 {
		return none, nil
	}
	end := estimated
	if b.stop >= 0 {
		end = min(end, b.stop)
	}
	c := b.claim
	if c != nil && c.pos < c.to && (fraction == 0 || b.index+1 >= end || b.w.rng.IntN(2) == 0) {
		return b.splitClaim(c, fraction), nil
	}
	first := b.index + 1 + int64(fraction*float64(end-b.index-1))
	if first >= end {
		return none, nil
	}
	b.stop = first
	b.w.tracef("  worker splits bundle %d before element %d of %d", b.t.ev.Bundle, first, estimated)
	return &fnpb.ProcessBundleSplitResponse{ChannelSplits: []*fnpb.ProcessBundleSplitResponse_ChannelSplit{
		{TransformId: b.spec.InputPort, LastPrimaryElement: first - 1, FirstResidualElement: first}}}, nil
}

// splitClaim splits the restriction in process.
func (b *simBundle) splitClaim(c *claim, fraction float64) *fnpb.ProcessBundleSplitResponse {
	mid := c.pos + int64(fraction*float64(c.to-c.pos))
	b.w.tracef("  worker splits bundle %d in element %d: %d-%d-%d", b.t.ev.Bundle, b.index, c.from, mid, c.to)
	resp := &fnpb.ProcessBundleSplitResponse{
		PrimaryRoots:  []*fnpb.BundleApplication{c.application(c.from, mid)},
		ResidualRoots: []*fnpb.DelayedBundleApplication{c.residual(mid, c.to, 0)},
		ChannelSplits: []*fnpb.ProcessBundleSplitResponse_ChannelSplit{
			{TransformId: b.spec.InputPort, LastPrimaryElement: b.index - 1, FirstResidualElement: b.index + 1}},
	}
	c.to = mid
	b.stop = b.index + 1
	return resp
}
