package shuffle

import (
	"fmt"
	"math"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// merged is what became of the windows of one key.
type merged struct {
	outs   []session
	target []uint32 // by index of the original window: its session
}

// session is a window after merging, and what is in it.
type session struct {
	window []byte
	count  int64
	bytes  int64 // of values
	time   timestamp.Time
}

// sessions gathers the windows of one key, value by value.
type sessions struct {
	cfg     *Config
	windows interner
	per     []session // what is in each distinct window
	merged  merged
	into    []uint32 // see results
	scratch []result
}

func (s *sessions) reset() {
	s.windows.reset()
	s.per = s.per[:0]
}

// add notes a value and returns the index of its window.
func (s *sessions) add(win []byte, t timestamp.Time, size int) uint32 {
	i := s.windows.index(win)
	if int(i) == len(s.per) {
		s.per = append(s.per, session{window: s.windows.all[i], time: t})
	}
	s.per[i].add(1, int64(size), t, s.cfg.Strategy)
	return i
}

func (s *session) add(count, bytes int64, t timestamp.Time, by *window.Strategy) {
	s.count += count
	s.bytes += bytes
	s.time = by.Combine(s.time, t)
}

// none is no index.
const none = math.MaxUint32

// merge merges the windows seen. Sessions come in order of the first value in
// any of their windows. The result is valid until the next merge.
func (s *sessions) merge() (*merged, error) {
	results, err := s.results()
	if err != nil {
		return nil, err
	}
	m := &s.merged
	m.outs, m.target = m.outs[:0], m.target[:0]
	for i, p := range s.per {
		r := s.into[i]
		if r != none && results[r].out != none {
			out := results[r].out
			m.target = append(m.target, out)
			m.outs[out].add(p.count, p.bytes, p.time, s.cfg.Strategy)
			continue
		}
		if r != none {
			p.window, results[r].out = results[r].window, uint32(len(m.outs))
		}
		m.target = append(m.target, uint32(len(m.outs)))
		m.outs = append(m.outs, p)
	}
	for i := range m.outs {
		o := &m.outs[i]
		if o.time, err = outputTime(s.cfg.Strategy, o.window, o.time); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// result is a window that others have been merged into.
type result struct {
	window []byte
	out    uint32 // index of the session, once it has one
}

// results merges the windows of the key and sets s.into: for each, the index
// of the result it has become, or none if it stays.
func (s *sessions) results() ([]result, error) {
	s.into = s.into[:0]
	for range s.per {
		s.into = append(s.into, none)
	}
	if len(s.per) < 2 {
		return nil, nil
	}
	merge := window.MergeIntervals
	if s.cfg.Strategy.CustomMerge {
		merge = s.cfg.Merge
	}
	all, err := merge(s.windows.all)
	if err != nil {
		return nil, fmt.Errorf("shuffle: merge %d windows: %w", len(s.per), err)
	}
	results := s.scratch[:0]
	for r, m := range all {
		results = append(results, result{m.Result, none})
		for _, from := range m.From {
			if err := s.become(from, uint32(r)); err != nil {
				return nil, err
			}
		}
	}
	s.scratch = results
	if s.cfg.Strategy.CustomMerge {
		return results, s.unify(results)
	}
	return results, nil
}

func (s *sessions) become(from []byte, r uint32) error {
	i, ok := s.windows.byKey[string(from)]
	if !ok {
		return fmt.Errorf("shuffle: WindowFn %s merged window %x, which it was not given", s.cfg.Strategy.FnURN, from)
	}
	if s.into[i] != none && s.into[i] != r {
		return fmt.Errorf("shuffle: WindowFn %s merged window %x into two others", s.cfg.Strategy.FnURN, from)
	}
	s.into[i] = r
	return nil
}

// unify makes sure that no window comes out twice: a WindowFn may name the same
// result again, or merge into a window that it does not mention. Merging
// intervals cannot.
func (s *sessions) unify(results []result) error {
	first := make(map[string]uint32, len(results))
	for r := range results {
		win := string(results[r].window)
		if _, twice := first[win]; twice {
			return fmt.Errorf("shuffle: WindowFn %s names merged window %x twice", s.cfg.Strategy.FnURN, win)
		}
		first[win] = uint32(r)
		if i, ok := s.windows.byKey[win]; ok && s.into[i] == none {
			s.into[i] = uint32(r)
		}
	}
	return nil
}

// emitSessions merges windows and hands out groups, all in memory.
func (g *grouper) emitSessions(e *emitter) error {
	t := g.table
	s := &sessions{cfg: &g.cfg}
	var vals, wins []uint32 // values of the key and their windows, in order of arrival
	for n := range uint32(t.groups.len()) {
		g := t.groups.at(n)
		s.reset()
		vals, wins = vals[:0], wins[:0]
		t.eachValue(g, func(i uint32, v []byte) error {
			st := t.stamps.at(i)
			vals = append(vals, i)
			wins = append(wins, s.add(t.bytesOf(st.window), st.time, len(v)))
			return nil
		})
		m, err := s.merge()
		if err != nil {
			return err
		}
		if err := t.emitKey(e, t.bytesOf(g.key), m, vals, wins); err != nil {
			return err
		}
	}
	return nil
}

// emitKey hands out the sessions of one key.
func (t *table) emitKey(e *emitter, key []byte, m *merged, vals, wins []uint32) error {
	sorted, start := vals, []int{0, len(vals)}
	if len(m.outs) > 1 {
		sorted, start = distribute(m, vals, wins)
	}
	for o := range m.outs {
		out := Grouped{Key: key, Window: m.outs[o].window, Timestamp: m.outs[o].time, Count: m.outs[o].count}
		mine := sorted[start[o]:start[o+1]]
		out.Values = func(yield func([]byte) error) error {
			for _, i := range mine {
				if err := yield(t.bytesOf(t.values.at(i).ref)); err != nil {
					return err
				}
			}
			return nil
		}
		if err := e.send(&out); err != nil {
			return err
		}
	}
	return nil
}

// distribute sorts values by session, each session's in order of arrival:
// those of session o are sorted[start[o]:start[o+1]].
func distribute(m *merged, vals, wins []uint32) (sorted []uint32, start []int) {
	start = make([]int, len(m.outs)+1)
	for o := range m.outs {
		start[o+1] = start[o] + int(m.outs[o].count)
	}
	at := append([]int(nil), start...)
	sorted = make([]uint32, len(vals))
	for i, v := range vals {
		o := m.target[wins[i]]
		sorted[at[o]] = v
		at[o]++
	}
	return sorted, start
}
