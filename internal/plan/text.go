package plan

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// maxCoderText bounds how much is written of a coder.
const maxCoderText = 160

// String returns the plan as text for people.
func (p *Plan) String() string {
	var b bytes.Buffer
	_ = p.Write(&b) // a Buffer takes everything
	return b.String()
}

// Write writes the plan as text for people: each stage, what it reads, runs
// and produces, and why it is one.
func (p *Plan) Write(w io.Writer) error {
	t := &textWriter{w: w, p: p}
	for i, s := range p.Stages {
		if i > 0 {
			t.line("")
		}
		t.stage(s)
	}
	return t.err
}

// textWriter remembers the first error.
type textWriter struct {
	w   io.Writer
	p   *Plan
	err error
}

func (t *textWriter) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format+"\n", args...)
	}
}

func (t *textWriter) stage(s *Stage) {
	t.line("stage %d: %s", s.Index, s.Name)
	t.line("  %s", traits(s))
	for _, why := range s.Why {
		t.line("  why: %s", why)
	}
	if s.Input != nil {
		t.line("  in:   %s", t.collection(s.Input))
	}
	if s.Group != nil {
		t.group(s.Group)
	}
	for _, side := range s.SideInputs {
		access := "iterable"
		if side.Multimap {
			access = "multimap"
		}
		t.line("  side: %s of %s as %s: %s", side.Local, side.Transform, access, t.collection(side.Collection))
	}
	for _, timer := range s.Timers {
		t.timer(s, timer)
	}
	if s.Kind == SDK {
		for _, id := range runs(s) {
			t.line("  run:  %s", id)
		}
	}
	for _, out := range s.Outputs {
		t.line("  out:  %s -> %s", t.collection(out.Collection), consumers(out.Consumers))
	}
}

// traits is everything about a stage that is yes or no.
func traits(s *Stage) string {
	words := []string{s.Kind.String()}
	if s.Environment != "" {
		words[0] += " " + s.Environment
	}
	for _, trait := range []struct {
		has  bool
		name string
	}{
		{s.Keyed, "keyed"}, {s.Barrier, "barrier"}, {s.TimeSorted, "time-sorted"},
		{s.Splittable, "splittable"}, {s.Spread, "spread"}, {s.Finalizes, "finalizes"},
	} {
		if trait.has {
			words = append(words, trait.name)
		}
	}
	return strings.Join(words, ", ")
}

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Impulse:
		return "impulse"
	case SDK:
		return "sdk"
	case Group:
		return "group"
	case TestStream:
		return "teststream"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// String names the strategy.
func (s Strategy) String() string {
	switch s {
	case Shuffle:
		return "shuffle"
	case Reduce:
		return "reduce"
	}
	return fmt.Sprintf("Strategy(%d)", uint8(s))
}

func (t *textWriter) group(g *GroupSpec) {
	merge := ""
	if g.MergeEnvironment != "" {
		merge = ", windows are merged by " + g.MergeEnvironment
	}
	t.line("  by:   %s, windowing %s%s", g.Strategy, g.Windowing, merge)
}

func (t *textWriter) timer(s *Stage, timer *Timer) {
	domain := "event time"
	if timer.Processing {
		domain = "processing time"
	}
	if s.ExpiryTimers[timer.Transform] == timer.Family {
		domain = "window expiry"
	}
	t.line("  timer: %s of %s, %s: %s", timer.Family, timer.Transform, domain, t.coder(timer.Coder))
}

// runs returns the ids of what an SDK runs, in an order that tells a story:
// each transform behind those it reads from.
func runs(s *Stage) []string {
	var ids []string
	ready := map[string]bool{s.Input.ID: true}
	for _, side := range s.SideInputs {
		ready[side.Collection.ID] = true
	}
	for grown := true; grown; {
		grown = false
		for _, id := range sortedIDs(s.Descriptor.GetTransforms()) {
			t := s.Descriptor.GetTransforms()[id]
			if u := t.GetSpec().GetUrn(); u == urn.DataSource || u == urn.DataSink || slices.Contains(ids, id) || !allReady(t, ready) {
				continue
			}
			ids, grown = append(ids, id), true
			for _, out := range t.GetOutputs() {
				ready[out] = true
			}
		}
	}
	for i, id := range ids {
		ids[i] = fmt.Sprintf("%s (%s)", id, shortURN(s.Descriptor.GetTransforms()[id].GetSpec().GetUrn()))
	}
	return ids
}

func allReady(t *pipepb.PTransform, ready map[string]bool) bool {
	for _, in := range t.GetInputs() {
		if !ready[in] {
			return false
		}
	}
	return true
}

func sortedIDs[V any](m map[string]V) []string {
	ids := make([]string, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func shortURN(u string) string {
	for _, prefix := range []string{"beam:transform:", "beam:coder:", "beam:"} {
		u = strings.TrimPrefix(u, prefix)
	}
	return strings.TrimSuffix(u, ":v1")
}

func consumers(cs []Consumer) string {
	if len(cs) == 0 {
		return "nowhere"
	}
	words := make([]string, len(cs))
	for i, c := range cs {
		words[i] = fmt.Sprint(c.Stage)
		if c.Side >= 0 {
			words[i] += " (side)"
		}
	}
	return strings.Join(words, ", ")
}

func (t *textWriter) collection(c *Collection) string {
	bounded := "unbounded"
	if c.Bounded {
		bounded = "bounded"
	}
	return fmt.Sprintf("%s %s %s in %s", c.ID, bounded, t.coder(c.Coder), t.coder(c.WindowCoder))
}

// coder writes a coder with its components.
func (t *textWriter) coder(id string) string {
	text := t.coderText(id, 0)
	if len(text) > maxCoderText {
		text = text[:maxCoderText] + "…"
	}
	return text
}

func (t *textWriter) coderText(id string, depth int) string {
	c := t.p.Coders[id]
	if c == nil {
		return id
	}
	text := shortURN(c.GetSpec().GetUrn())
	if len(c.GetComponentCoderIds()) == 0 || depth > maxCoderText {
		return text
	}
	var parts []string
	for _, part := range c.GetComponentCoderIds() {
		parts = append(parts, t.coderText(part, depth+1))
	}
	return text + "<" + strings.Join(parts, ", ") + ">"
}
