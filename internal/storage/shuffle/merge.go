package shuffle

import (
	"fmt"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// Limits of merging runs.
const (
	// mergeBufferBytesMax is the read buffer of a run. With many runs they
	// share the memory budget, down to mergeBufferBytesMin each.
	mergeBufferBytesMax = 256 << 10
	mergeBufferBytesMin = 4 << 10
	// sessionBytesMin is the least memory for the values of a key that are
	// gathered by session.
	sessionBytesMin = 1 << 20
)

// emitRuns merges the runs and hands out their groups.
func (g *grouper) emitRuns(e *emitter) error {
	g.table = nil // free it
	h, err := g.openRuns()
	if err != nil {
		return fmt.Errorf("shuffle: %w", err)
	}
	emit := g.emitParts
	if g.cfg.Strategy.Merging {
		emit = g.emitSessionParts
	}
	var parts []*cursor
	for len(h) > 0 {
		parts = append(parts[:0], h.pop())
		for len(h) > 0 && h[0].compareGroup(parts[0]) == 0 {
			parts = append(parts, h.pop())
		}
		if err := emit(e, parts); err != nil {
			return err
		}
		if err := h.advance(parts); err != nil {
			return fmt.Errorf("shuffle: %w", err)
		}
	}
	return nil
}

func (g *grouper) openRuns() (cursors, error) {
	n := int64(len(g.runs.spans))
	size := max(mergeBufferBytesMin, min(mergeBufferBytesMax, g.cfg.MemoryBudget/n))
	var h cursors
	all := make([]*cursor, 0, n)
	for i, s := range g.runs.spans {
		all = append(all, &cursor{
			run: i, end: s.end, merging: g.cfg.Strategy.Merging,
			in:   reader{file: g.runs.file, limit: s.end, size: int(size)},
			body: runSpan{s.start, s.start},
		})
	}
	err := h.advance(all)
	return h, err
}

// emitParts hands out one group, which has a part in each of some runs.
func (g *grouper) emitParts(e *emitter, parts []*cursor) error {
	out := Grouped{Key: parts[0].key, Window: parts[0].win}
	t := parts[0].time
	for _, p := range parts {
		out.Count += p.count
		t = g.cfg.Strategy.Combine(t, p.time)
	}
	var err error
	if out.Timestamp, err = outputTime(g.cfg.Strategy, out.Window, t); err != nil {
		return err
	}
	out.Values = func(yield func([]byte) error) error {
		return eachPart(parts, func(_ []byte, _ timestamp.Time, v []byte) error { return yield(v) })
	}
	return e.send(&out)
}

func eachPart(parts []*cursor, fn func(win []byte, t timestamp.Time, v []byte) error) error {
	for _, p := range parts {
		if err := p.values(fn); err != nil {
			return err
		}
	}
	return nil
}

// emitSessionParts merges the windows of one key and hands out its sessions.
// The values are read once to find the windows, and again for as many sessions
// at a time as fit into memory; a session that does not fit alone is streamed.
func (g *grouper) emitSessionParts(e *emitter, parts []*cursor) error {
	s := &sessions{cfg: &g.cfg}
	err := eachPart(parts, func(win []byte, t timestamp.Time, v []byte) error {
		s.add(win, t, len(v))
		return nil
	})
	if err != nil {
		return fmt.Errorf("shuffle: %w", err)
	}
	m, err := s.merge()
	if err != nil {
		return err
	}
	p := &pass{s: s, m: m, parts: parts}
	budget := max(sessionBytesMin, g.cfg.MemoryBudget)
	for p.lo < len(m.outs) {
		size := m.outs[p.lo].bytes
		for p.hi = p.lo + 1; p.hi < len(m.outs) && size+m.outs[p.hi].bytes <= budget; p.hi++ {
			size += m.outs[p.hi].bytes
		}
		if err := p.emit(e, size <= budget); err != nil {
			return err
		}
		p.lo = p.hi
	}
	return nil
}

// pass hands out the sessions [lo, hi) of a key.
type pass struct {
	s      *sessions
	m      *merged
	parts  []*cursor
	lo, hi int
}

// gathered are the values of a session.
type gathered struct {
	data []byte
	ends []int
}

func (p *pass) emit(e *emitter, gather bool) error {
	var mem []gathered
	if gather && p.hi-p.lo > 1 {
		var err error
		if mem, err = p.gather(); err != nil {
			return fmt.Errorf("shuffle: %w", err)
		}
	}
	for o := p.lo; o < p.hi; o++ {
		out := Grouped{Key: p.parts[0].key, Window: p.m.outs[o].window, Timestamp: p.m.outs[o].time, Count: p.m.outs[o].count}
		if mem != nil {
			out.Values = mem[o-p.lo].each
		} else {
			out.Values = func(yield func([]byte) error) error { return p.stream(o, yield) }
		}
		if err := e.send(&out); err != nil {
			return err
		}
	}
	return nil
}

// session returns the session of a value in the given window.
func (p *pass) session(win []byte) int { return int(p.m.target[p.s.windows.index(win)]) }

func (p *pass) gather() ([]gathered, error) {
	mem := make([]gathered, p.hi-p.lo)
	for i := range mem {
		o := &p.m.outs[p.lo+i]
		mem[i] = gathered{make([]byte, 0, o.bytes), make([]int, 0, o.count)}
	}
	err := eachPart(p.parts, func(win []byte, _ timestamp.Time, v []byte) error {
		if o := p.session(win); o >= p.lo && o < p.hi {
			m := &mem[o-p.lo]
			m.data = append(m.data, v...)
			m.ends = append(m.ends, len(m.data))
		}
		return nil
	})
	return mem, err
}

func (p *pass) stream(o int, yield func([]byte) error) error {
	return eachPart(p.parts, func(win []byte, _ timestamp.Time, v []byte) error {
		if p.session(win) != o {
			return nil
		}
		return yield(v)
	})
}

func (m *gathered) each(yield func([]byte) error) error {
	start := 0
	for _, end := range m.ends {
		if err := yield(m.data[start:end:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// cursors is a heap by group and run.
type cursors []*cursor

func (h cursors) less(i, j int) bool {
	if c := h[i].compareGroup(h[j]); c != 0 {
		return c < 0
	}
	return h[i].run < h[j].run
}

// advance moves cursors, which are not in the heap, to their next records and
// puts those that have one into the heap.
func (h *cursors) advance(moved []*cursor) error {
	for _, c := range moved {
		ok, err := c.next()
		if err != nil {
			return err
		}
		if ok {
			h.push(c)
		}
	}
	return nil
}

func (h *cursors) push(c *cursor) {
	*h = append(*h, c)
	for i := len(*h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			return
		}
		(*h)[i], (*h)[up] = (*h)[up], (*h)[i]
		i = up
	}
}

func (h *cursors) pop() *cursor {
	top, last := (*h)[0], len(*h)-1
	(*h)[0] = (*h)[last]
	*h = (*h)[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			return top
		}
		if down+1 < last && h.less(down+1, down) {
			down++
		}
		if !h.less(down, i) {
			return top
		}
		(*h)[i], (*h)[down] = (*h)[down], (*h)[i]
		i = down
	}
}
