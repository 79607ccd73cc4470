package layout

import (
	"fmt"
	"slices"
	"strings"
)

// Content is how much there is of each thing in a stage of a job.
type Content struct {
	// Queue is what waits to be processed, in elements.
	Queue Amount `json:"queue"`
	// States and Timers are those of the user, by state id and family.
	States map[string]Amount `json:"states,omitempty"`
	Timers map[string]Amount `json:"timers,omitempty"`
	// Grouped is what a grouping keeps by key and window.
	Grouped Amount `json:"grouped"`
	// Sorted are elements that wait for earlier ones.
	Sorted Amount `json:"sorted"`
	// Sides are the blocks of side inputs, by index.
	Sides []Amount `json:"sides,omitempty"`
}

// Amount is a number of rows, elements or blocks, and their bytes.
type Amount struct {
	Count int64 `json:"count"`
	Bytes int64 `json:"bytes"`
}

// Options of Match.
type Options struct {
	// ShapesOnly takes encodings for equal that differ only in what the SDK keeps
	// to itself, as the code of a coder.
	ShapesOnly bool
	// Renamed are the new names of transforms, and of all below them.
	Renamed map[string]string
}

// Target says where what a stage has goes.
type Target struct {
	// Stages go on from the stage's watermarks.
	Stages []int
	// Queue are the stages that get what waits in its queue.
	Queue []int
	// Keyed is the stage that gets its keyed rows; -1: none does.
	Keyed int
	// States, Timers: which of the user's go with them.
	States, Timers map[string]bool
	// Grouped, Sorted: whether those do.
	Grouped, Sorted bool
	// Sides are where its side inputs go, by index.
	Sides []SideTarget
}

// SideTarget is a side input; the stage is -1 if there is none.
type SideTarget struct{ Stage, Input int }

// Match finds the places for all that is in the stages of a layout. What has no
// place, and what would be incomplete in the new one, is in lost, a sentence each.
func Match(old *Layout, have []Content, now *Layout, o Options) (targets []Target, lost []string) {
	m := &matcher{old: old, now: now, o: o, at: map[string]int{}, steps: map[string]bool{}, was: map[string]bool{}}
	for i, s := range now.Stages {
		for _, name := range s.Takers {
			m.at[name] = i
		}
		for _, name := range s.Steps {
			m.steps[name] = true
		}
	}
	for _, s := range old.Stages {
		for _, name := range s.Steps {
			m.was[m.rename(name)] = true
		}
	}
	for i := range old.Stages {
		var c Content
		if i < len(have) {
			c = have[i]
		}
		targets = append(targets, m.stage(&old.Stages[i], &c))
	}
	m.newSides(targets)
	return targets, m.lost
}

type matcher struct {
	old, now *Layout
	o        Options
	at       map[string]int  // stage of now, by taker
	steps    map[string]bool // all of now
	was      map[string]bool // all of old, by their new names
	lost     []string
}

func (m *matcher) lose(format string, args ...any) {
	m.lost = append(m.lost, fmt.Sprintf(format, args...))
}

// rename is the new name of a transform: the longest entry counts that is it, or
// above it.
func (m *matcher) rename(name string) string {
	best, to := "", ""
	for from, new := range m.o.Renamed {
		if (name == from || strings.HasPrefix(name, from+"/")) && len(from) >= len(best) {
			best, to = from, new
		}
	}
	if best == "" {
		return name
	}
	return to + strings.TrimPrefix(name, best)
}

func (m *matcher) fits(was, is Form) bool { return was.fits(is, m.o.ShapesOnly) }

func (m *matcher) stage(s *Stage, c *Content) Target {
	t := Target{Keyed: -1, States: map[string]bool{}, Timers: map[string]bool{}}
	for _, name := range s.Takers {
		i, ok := m.at[m.rename(name)]
		if ok && m.now.Stages[i].Kind == s.Kind && !slices.Contains(t.Stages, i) {
			t.Stages = append(t.Stages, i)
		}
	}
	if c.Queue.Count > 0 {
		m.queue(s, c, &t)
	}
	if s.Keyed {
		m.keyed(s, c, &t)
	}
	m.sides(s, c, &t)
	return t
}

// queue finds the stages for what waits.
func (m *matcher) queue(s *Stage, c *Content, t *Target) {
	waits := fmt.Sprintf("%s on the way to", c.Queue.text("element"))
	for _, name := range s.Takers {
		to := m.rename(name)
		i, ok := m.at[to]
		switch {
		case ok && slices.Contains(t.Queue, i):
		case !ok && m.steps[to]:
			m.lose("%s %q: it does not begin a stage in the new pipeline", waits, name)
		case !ok:
			m.lose("%s %q: %s", waits, name, m.missing(name))
		case m.now.Stages[i].Kind != s.Kind:
			m.lose("%s %q: it has become another kind of transform", waits, name)
		case !m.fits(s.Element, m.now.Stages[i].Element):
			m.lose("%s %q: its input was encoded as %s and is now %s", waits, name, s.Element.Exact, m.now.Stages[i].Element.Exact)
		case !m.fits(s.Window, m.now.Stages[i].Window):
			m.lose("%s %q: its windows were encoded as %s and are now %s", waits, name, s.Window.Exact, m.now.Stages[i].Window.Exact)
		default:
			if again := m.again(s, i); again != "" {
				m.lose("%s %q: %q, which has had them, would get them again", waits, name, again)
				continue
			}
			t.Queue = append(t.Queue, i)
		}
	}
}

// again returns a taker of a new stage that is no taker of the old one, and was
// there: it has had what waits there, or will get it from where it was.
func (m *matcher) again(s *Stage, i int) string {
	for _, name := range m.now.Stages[i].Takers {
		took := slices.ContainsFunc(s.Takers, func(t string) bool { return m.rename(t) == name })
		if m.was[name] && !took {
			return name
		}
	}
	return ""
}

func (m *matcher) missing(name string) string {
	if to := m.rename(name); to != name {
		return fmt.Sprintf("the new pipeline has no %q", to)
	}
	return "the new pipeline has none of that name"
}

// keyed finds the stage for state, timers and what is grouped or sorted.
func (m *matcher) keyed(s *Stage, c *Content, t *Target) {
	name, all := s.Takers[0], c.keyed()
	i, ok := m.at[m.rename(name)]
	why := m.missing(name)
	switch {
	case ok:
		why = m.otherKeys(s, &m.now.Stages[i])
	case m.steps[m.rename(name)]: // what keeps something begins a stage
		why = notKeyed
	}
	switch {
	case why == "":
		t.Keyed = i
		m.cells(s, c, &m.now.Stages[i], t)
		m.grouped(s, c, &m.now.Stages[i], t)
	case all.Count > 0:
		m.lose("%s that %q keeps: %s", all.text("row"), name, why)
	}
}

// notKeyed is said of a transform that is there and keeps nothing.
const notKeyed = "it has no state and no timers in the new pipeline"

// otherKeys says why what a stage keeps by key is not for another one.
func (m *matcher) otherKeys(s, is *Stage) string {
	switch {
	case is.Kind != s.Kind:
		return "it has become another kind of transform"
	case !is.Keyed:
		return notKeyed
	case !m.fits(s.Key, is.Key):
		return fmt.Sprintf("its keys were encoded as %s and are now %s", s.Key.Exact, is.Key.Exact)
	case !m.fits(s.Window, is.Window):
		return fmt.Sprintf("its windows were encoded as %s and are now %s", s.Window.Exact, is.Window.Exact)
	}
	return ""
}

// cells compares states and timers one by one.
func (m *matcher) cells(s *Stage, c *Content, is *Stage, t *Target) {
	name := s.Takers[0]
	for _, id := range sortedKeys(c.States) {
		was, has := s.States[id], c.States[id].text("row")
		switch form, ok := is.States[id]; {
		case !ok:
			m.lose("%s of state %q of %q: the new pipeline has no such state there", has, id, name)
		case !m.fits(was, form):
			m.lose("%s of state %q of %q: it was %s and is now %s", has, id, name, was.Exact, form.Exact)
		default:
			t.States[id] = true
		}
	}
	for _, family := range sortedKeys(c.Timers) {
		was, has := s.Timers[family], c.Timers[family].text("timer")
		switch domain, ok := is.Timers[family]; {
		case !ok:
			m.lose("%s %q of %q: the new pipeline has no such timer there", has, family, name)
		case domain != was:
			m.lose("%s %q of %q: they were in %s and are now in %s", has, family, name, was, domain)
		default:
			t.Timers[family] = true
		}
	}
}

// grouped compares what a grouping, or sorting by time, keeps.
func (m *matcher) grouped(s *Stage, c *Content, is *Stage, t *Target) {
	name := s.Takers[0]
	same := m.fits(s.Element, is.Element)
	if c.Grouped.Count > 0 {
		has := fmt.Sprintf("%s that %q has begun to group", c.Grouped.text("row"), name)
		switch t.Grouped = is.Reduces && same && m.fits(s.Windowing, is.Windowing); {
		case t.Grouped:
		case !is.Reduces:
			m.lose("%s: the new pipeline groups all at once", has)
		case !same:
			m.lose("%s: its input was encoded as %s and is now %s", has, s.Element.Exact, is.Element.Exact)
		default:
			m.lose("%s: its windows, trigger or allowed lateness have changed", has)
		}
	}
	if c.Sorted.Count > 0 {
		if t.Sorted = is.Sorts && same; !t.Sorted {
			m.lose("%s that %q has put aside to sort them by time: it does not sort them in the new pipeline, or they are encoded differently",
				c.Sorted.text("element"), name)
		}
	}
}

// sides finds the places of side inputs.
func (m *matcher) sides(s *Stage, c *Content, t *Target) {
	for k := range s.Sides {
		side := &s.Sides[k]
		to := m.findSide(side)
		if k < len(c.Sides) && c.Sides[k].Count > 0 {
			has := fmt.Sprintf("%s of side input %q of %q", c.Sides[k].text("block"), side.Local, side.Reader)
			if to.Stage < 0 {
				m.lose("%s: the new pipeline has no such side input", has)
			} else if is := &m.now.Stages[to.Stage].Sides[to.Input]; !m.fits(side.Element, is.Element) || !m.fits(side.Window, is.Window) {
				m.lose("%s: it was encoded as %s and is now %s", has, side.Element.Exact, is.Element.Exact)
				to.Stage = -1
			}
		}
		t.Sides = append(t.Sides, to)
	}
}

func (m *matcher) findSide(side *Side) SideTarget {
	reader := m.rename(side.Reader)
	for i := range m.now.Stages {
		for k, is := range m.now.Stages[i].Sides {
			if is.Reader == reader && is.Local == side.Local {
				return SideTarget{i, k}
			}
		}
	}
	return SideTarget{-1, 0}
}

// newSides finds side inputs that are new, and that stages fill that have been
// running: what came before would be missing.
func (m *matcher) newSides(targets []Target) {
	known, filled := map[int]bool{}, map[SideTarget]bool{}
	for _, t := range targets {
		for _, i := range t.Stages {
			known[i] = true
		}
		for _, to := range t.Sides {
			filled[to] = true
		}
	}
	for i := range m.now.Stages {
		for k, side := range m.now.Stages[i].Sides {
			ran := slices.ContainsFunc(side.From, func(from int) bool { return known[from] })
			if ran && !filled[SideTarget{i, k}] {
				m.lose("side input %q of %q is new: what has been put into it so far is not kept, and would be missing", side.Local, side.Reader)
			}
		}
	}
}
