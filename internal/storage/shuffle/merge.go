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
	m := &merger{cfg: &g.cfg, e: e, sessions: sessions{cfg: &g.cfg}}
	m.out.Values = m.values
	emit := m.emit
	if g.cfg.Strategy.Merging {
		emit = m.emitSessions
	}
	for len(h) > 0 {
		m.parts = append(m.parts[:0], h.pop())
		for len(h) > 0 && h[0].compareGroup(m.parts[0]) == 0 {
			m.parts = append(m.parts, h.pop())
		}
		if err := emit(); err != nil {
			return err
		}
		if err := h.advance(m.parts); err != nil {
			return fmt.Errorf("shuffle: %w", err)
		}
	}
	return nil
}

// merger hands out one group, or the sessions of one key, at a time. Each has a
// part in some of the runs.
type merger struct {
	cfg      *Config
	e        *emitter
	parts    []*cursor // in order of run
	out      Grouped
	sessions sessions
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

// emit hands out a group.
func (m *merger) emit() error {
	first, by := m.parts[0], m.cfg.Strategy
	m.out.Key, m.out.Window, m.out.Count = first.key, first.win, 0
	t := first.time
	for _, p := range m.parts {
		m.out.Count += p.count
		t = by.Combine(t, p.time)
	}
	var err error
	if m.out.Timestamp, err = outputTime(by, m.out.Window, t); err != nil {
		return err
	}
	return m.e.send(&m.out)
}

// values are those of a group.
func (m *merger) values(yield func([]byte) error) error {
	return eachPart(m.parts, func(_ []byte, _ timestamp.Time, v []byte) error { return yield(v) })
}

func eachPart(parts []*cursor, fn func(win []byte, t timestamp.Time, v []byte) error) error {
	for _, p := range parts {
		if err := p.values(fn); err != nil {
			return err
		}
	}
	return nil
}

// emitSessions merges the windows of one key and hands out its sessions. The
// values are read once to find the windows, and again for as many sessions at
// a time as fit into memory; a session that does not fit alone is streamed.
func (m *merger) emitSessions() error {
	s := &m.sessions
	s.reset()
	err := eachPart(m.parts, func(win []byte, t timestamp.Time, v []byte) error {
		s.add(win, t, len(v))
		return nil
	})
	if err != nil {
		return fmt.Errorf("shuffle: %w", err)
	}
	all, err := s.merge()
	if err != nil {
		return err
	}
	p := &pass{s: s, m: all, parts: m.parts}
	budget := max(sessionBytesMin, m.cfg.MemoryBudget)
	for p.lo < len(all.outs) {
		size := all.outs[p.lo].bytes
		for p.hi = p.lo + 1; p.hi < len(all.outs) && size+all.outs[p.hi].bytes <= budget; p.hi++ {
			size += all.outs[p.hi].bytes
		}
		if err := p.emit(m.e); err != nil {
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

func (p *pass) emit(e *emitter) error {
	var mem []gathered
	if p.hi-p.lo > 1 { // a single one needs no sorting out
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
