package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
)

// maxCoderText bounds how much is written of a coder.
const maxCoderText = 160

// String returns the plan as text for people.
func (p *Plan) String() string {
	var b bytes.Buffer
	_ = p.Write(&b) // a Buffer takes everything
	return b.String()
}

// Fingerprint tells plans apart: it is a hash of everything in the text that
// matters when the plan is carried out, which is all but the reasons. Plans with
// the same one find their way in each other's rows.
func (p *Plan) Fingerprint() string {
	h := sha256.New()
	_ = p.write(h, false) // a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}

// Write writes the plan as text for people: each stage, what it reads, runs
// and produces, and why it is one.
func (p *Plan) Write(w io.Writer) error { return p.write(w, true) }

func (p *Plan) write(w io.Writer, reasons bool) error {
	t := &textWriter{w: w, p: p, reasons: reasons}
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
	w io.Writer
	p *Plan
	// reasons: they are written, too.
	reasons bool
	err     error
}

func (t *textWriter) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format+"\n", args...)
	}
}

func (t *textWriter) stage(s *Stage) {
	t.line("stage %d: %s", s.Index, s.Name)
	t.line("  %s", traits(s))
	if t.reasons {
		for _, why := range s.Why {
			t.line("  why: %s", why)
		}
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
		for _, id := range s.Steps {
			t.line("  run:  %s (%s)", id, shortURN(s.Descriptor.GetTransforms()[id].GetSpec().GetUrn()))
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

// coder writes a coder with its components, as far as there is room.
func (t *textWriter) coder(id string) string {
	var b strings.Builder
	t.writeCoder(&b, id)
	if b.Len() > maxCoderText {
		return b.String()[:maxCoderText] + "…"
	}
	return b.String()
}

func (t *textWriter) writeCoder(b *strings.Builder, id string) {
	if b.Len() > maxCoderText {
		return
	}
	c := t.p.Coders[id]
	b.WriteString(shortURN(c.GetSpec().GetUrn()))
	for i, part := range c.GetComponentCoderIds() {
		b.WriteString([]string{"<", ", "}[min(i, 1)])
		t.writeCoder(b, part)
	}
	if len(c.GetComponentCoderIds()) > 0 {
		b.WriteString(">")
	}
}
