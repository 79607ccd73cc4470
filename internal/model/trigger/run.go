package trigger

import "math"

// Add tells the trigger of n more elements, n > 0.
func (m *Machine) Add(s *State, c Clock, n int64) { m.add1(s, &c, 0, n) }

func (m *Machine) add1(s *State, c *Clock, i int, n int64) {
	nd := &m.nodes[i]
	switch nd.kind {
	case elementCount:
		s.value[i] = min(s.value[i]+n, math.MaxInt64/2)
	case delay, syncDelay:
		// The delay runs from the first element of the pane.
		if s.value[i] == 0 {
			s.value[i] = nd.target(c.time(nd.kind)) + delayBias
		}
	case each, earlyLate:
		if !m.merging {
			// Only the part whose turn it is sees elements.
			if sub := m.unfinished(s, i); sub >= 0 {
				m.add1(s, c, sub, n)
			}
			return
		}
		// A merge may bring back any part, which must then have kept up.
		m.addAll(s, c, nd.subs, n)
	case all:
		for _, sub := range nd.subs {
			if !s.finished[sub] {
				m.add1(s, c, sub, n)
			}
		}
	case first, orFinally, repeat:
		m.addAll(s, c, nd.subs, n)
	}
}

func (m *Machine) addAll(s *State, c *Clock, subs []int, n int64) {
	for _, sub := range subs {
		m.add1(s, c, sub, n)
	}
}

// ShouldFire reports whether the pane is due. A finished trigger never is.
func (m *Machine) ShouldFire(s *State, c Clock) bool {
	return !s.finished[0] && m.should(s, &c, 0)
}

func (m *Machine) should(s *State, c *Clock, i int) bool {
	nd := &m.nodes[i]
	switch nd.kind {
	case always:
		return true
	case repeatedEndOfWindow, endOfWindow:
		return c.ended()
	case earlyLate:
		if !s.finished[nd.subs[0]] {
			return c.ended() || m.should(s, c, nd.subs[0])
		}
		return len(nd.subs) > 1 && m.should(s, c, nd.subs[1])
	case delay, syncDelay:
		return s.value[i] != 0 && c.time(nd.kind) >= s.value[i]-delayBias
	case elementCount:
		return s.value[i] >= nd.count
	case all:
		for _, sub := range nd.subs {
			if !s.finished[sub] && !m.should(s, c, sub) {
				return false
			}
		}
		return true
	case first:
		for _, sub := range nd.subs {
			if s.finished[sub] || m.should(s, c, sub) {
				return true
			}
		}
	case each:
		sub := m.unfinished(s, i)
		return sub >= 0 && m.should(s, c, sub)
	case orFinally:
		return m.should(s, c, nd.subs[0]) || m.should(s, c, nd.subs[1])
	case repeat:
		return m.should(s, c, nd.subs[0])
	}
	return false // never
}

// Fire moves on after a firing. It is called when ShouldFire is true.
func (m *Machine) Fire(s *State, c Clock) { m.fire(s, &c, 0) }

func (m *Machine) fire(s *State, c *Clock, i int) {
	nd := &m.nodes[i]
	switch nd.kind {
	case endOfWindow:
		s.finished[i] = true
	case delay, syncDelay, elementCount:
		s.value[i] = 0
		s.finished[i] = true
	case earlyLate:
		m.fireEarlyLate(s, c, i)
	case all:
		for _, sub := range nd.subs {
			m.fire(s, c, sub)
		}
		s.finished[i] = true
	case first:
		for _, sub := range nd.subs {
			if m.should(s, c, sub) {
				m.fire(s, c, sub)
			} else {
				m.clear(s, sub) // the pane that it waited with is gone
			}
		}
		s.finished[i] = true
	case each:
		if sub := m.unfinished(s, i); sub >= 0 {
			m.fire(s, c, sub)
		}
		if m.merging {
			// The other parts have been running along; the pane is gone.
			m.clear(s, i)
		}
		s.finished[i] = m.unfinished(s, i) < 0
	case orFinally:
		main, finally := nd.subs[0], nd.subs[1]
		if m.should(s, c, finally) {
			m.fire(s, c, finally)
			m.clear(s, main)
		} else {
			m.fire(s, c, main) // finally goes on: it counts across panes
		}
		s.finished[i] = s.finished[main] || s.finished[finally]
	case repeat:
		m.fireAgain(s, c, nd.subs[0])
	}
}

// fireEarlyLate: firings repeat before and after the end of the window, where
// there is exactly one. The early part's being finished says that it was.
func (m *Machine) fireEarlyLate(s *State, c *Clock, i int) {
	subs := m.nodes[i].subs
	switch early := subs[0]; {
	case s.finished[early]:
		if len(subs) > 1 {
			m.fireAgain(s, c, subs[1])
		}
	case !c.ended():
		m.fireAgain(s, c, early)
	default:
		m.reset(s, early)
		s.finished[early] = true
		if len(subs) == 1 {
			s.finished[i] = true
			return
		}
		m.reset(s, subs[1]) // it may have been running along
	}
}

// fireAgain fires a part that starts afresh when it is finished.
func (m *Machine) fireAgain(s *State, c *Clock, i int) {
	m.fire(s, c, i)
	if s.finished[i] {
		m.reset(s, i)
	}
}

// Merge replaces into by the merge of the states of windows that become one.
// c is the clock of the window that they become. from has at least one state
// and may contain into.
func (m *Machine) Merge(into *State, c Clock, from []*State) {
	merged := m.Start()
	m.merge(merged, &c, from, 0)
	*into = *merged
}

func (m *Machine) merge(s *State, c *Clock, from []*State, i int) {
	nd := &m.nodes[i]
	switch nd.kind {
	case endOfWindow:
		s.finished[i] = c.ended() && inAll(from, i)
	case delay, syncDelay:
		if s.finished[i] = inAll(from, i); !s.finished[i] {
			s.value[i] = earliest(from, i)
		}
	case elementCount:
		if s.finished[i] = inAny(from, i); s.finished[i] {
			return
		}
		for _, f := range from {
			s.value[i] = min(s.value[i]+f.value[i], math.MaxInt64/2)
		}
	case earlyLate:
		m.mergeEarlyLate(s, c, from, i)
	case all:
		m.mergeAll(s, c, from, nd.subs)
		s.finished[i] = m.unfinished(s, i) < 0
	case first, orFinally:
		m.mergeAll(s, c, from, nd.subs)
		for _, sub := range nd.subs {
			s.finished[i] = s.finished[i] || s.finished[sub]
		}
	case each:
		for _, sub := range nd.subs {
			m.merge(s, c, from, sub)
			if !s.finished[sub] {
				break // what comes after it has not started
			}
		}
		s.finished[i] = m.unfinished(s, i) < 0
	case repeat:
		m.mergeAll(s, c, from, nd.subs)
		m.revive(s, nd.subs[0])
	}
}

func (m *Machine) mergeAll(s *State, c *Clock, from []*State, subs []int) {
	for _, sub := range subs {
		m.merge(s, c, from, sub)
	}
}

// mergeEarlyLate: if any of the windows still waits for its end, or the merged
// window does, then the early part is on again, because elements may be
// pending that have not been in any pane.
func (m *Machine) mergeEarlyLate(s *State, c *Clock, from []*State, i int) {
	subs := m.nodes[i].subs
	if !c.ended() || !inAll(from, subs[0]) {
		m.merge(s, c, from, subs[0])
		m.revive(s, subs[0])
		return
	}
	s.finished[subs[0]] = true
	if len(subs) == 1 {
		s.finished[i] = inAll(from, i)
		return
	}
	m.merge(s, c, from, subs[1])
	m.revive(s, subs[1])
}

// revive makes a part that is repeated ready for another round, if the merge
// has finished it.
func (m *Machine) revive(s *State, i int) {
	if s.finished[i] {
		clear(s.finished[i:m.nodes[i].end])
	}
}

func inAll(from []*State, i int) bool {
	for _, f := range from {
		if !f.finished[i] {
			return false
		}
	}
	return true
}

func inAny(from []*State, i int) bool {
	for _, f := range from {
		if f.finished[i] {
			return true
		}
	}
	return false
}

// earliest returns the first end of a delay, or 0 if none is running.
func earliest(from []*State, i int) int64 {
	var t int64
	for _, f := range from {
		if v := f.value[i]; v != 0 && (t == 0 || v < t) {
			t = v
		}
	}
	return t
}

// NoWakeup is the result of Wakeup if there is nothing to wait for.
const NoWakeup = math.MaxInt64

// Wakeup returns when, by the clock of processing time, the trigger wants to be
// asked again: the first end of a delay that has not been reached, or NoWakeup.
// The synchronized clock needs none, because its delays are over at once.
func (m *Machine) Wakeup(s *State, c Clock) int64 {
	wake := int64(NoWakeup)
	if s.finished[0] {
		return wake
	}
	for i := range m.nodes {
		if m.nodes[i].kind != delay || s.value[i] == 0 {
			continue
		}
		if end := s.value[i] - delayBias; end > c.NowMS {
			wake = min(wake, end)
		}
	}
	return wake
}
