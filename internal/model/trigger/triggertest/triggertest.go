// Package triggertest reads and makes up trigger expressions for tests.
package triggertest

import (
	"fmt"
	"strconv"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// Parse reads an expression without spaces:
//
//	default never always sync
//	eow eow(E) eow(E,L) eow(,L)       after the end of the window, with early and late firings
//	count(N)
//	delay(N) align(P,O) delay(N)+align(P,O)   processing time
//	all(T,...) any(T,...) each(T,...) finally(T,T) repeat(T)
func Parse(s string) (*pipepb.Trigger, error) {
	p := &parser{s: s}
	t := p.trigger()
	if p.err == nil && p.s != "" {
		p.fail("trailing %q", p.s)
	}
	return t, p.err
}

// MustParse is Parse for expressions that are right.
func MustParse(s string) *pipepb.Trigger {
	t, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return t
}

type parser struct {
	s   string
	err error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("trigger expression: "+format, args...)
	}
	p.s = ""
}

// accept skips a prefix if it is there.
func (p *parser) accept(prefix string) bool {
	rest, ok := strings.CutPrefix(p.s, prefix)
	p.s = rest
	return ok
}

func (p *parser) name() string {
	n := 0
	for n < len(p.s) && p.s[n] >= 'a' && p.s[n] <= 'z' {
		n++
	}
	name := p.s[:n]
	p.s = p.s[n:]
	return name
}

// numbers reads (N,...).
func (p *parser) numbers(count int) []int64 {
	ns := make([]int64, count)
	text, rest, ok := strings.Cut(p.s, ")")
	words := strings.Split(strings.TrimPrefix(text, "("), ",")
	if !ok || len(words) != count {
		p.fail("want %d numbers at %q", count, p.s)
		return ns
	}
	p.s = rest
	for i, w := range words {
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			p.fail("%v", err)
		}
		ns[i] = n
	}
	return ns
}

// triggers reads (T,...); a T that is left out is nil.
func (p *parser) triggers() []*pipepb.Trigger {
	if !p.accept("(") {
		p.fail("want ( at %q", p.s)
		return nil
	}
	var ts []*pipepb.Trigger
	for {
		var t *pipepb.Trigger
		if p.s != "" && p.s[0] != ',' && p.s[0] != ')' {
			t = p.trigger()
		}
		ts = append(ts, t)
		if p.accept(")") || p.err != nil {
			return ts
		}
		if !p.accept(",") {
			p.fail("want , or ) at %q", p.s)
			return ts
		}
	}
}

func (p *parser) trigger() *pipepb.Trigger {
	switch name := p.name(); name {
	case "default":
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_Default_{Default: &pipepb.Trigger_Default{}}}
	case "never":
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_Never_{Never: &pipepb.Trigger_Never{}}}
	case "always":
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_Always_{Always: &pipepb.Trigger_Always{}}}
	case "sync":
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_AfterSynchronizedProcessingTime_{
			AfterSynchronizedProcessingTime: &pipepb.Trigger_AfterSynchronizedProcessingTime{}}}
	case "eow":
		e := &pipepb.Trigger_AfterEndOfWindow{}
		if strings.HasPrefix(p.s, "(") {
			ts := append(p.triggers(), nil)
			e.EarlyFirings, e.LateFirings = ts[0], ts[1]
		}
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_AfterEndOfWindow_{AfterEndOfWindow: e}}
	case "count":
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_ElementCount_{
			ElementCount: &pipepb.Trigger_ElementCount{ElementCount: int32(p.numbers(1)[0])}}}
	case "delay", "align":
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_AfterProcessingTime_{
			AfterProcessingTime: &pipepb.Trigger_AfterProcessingTime{TimestampTransforms: p.transforms(name)}}}
	case "all":
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_AfterAll_{AfterAll: &pipepb.Trigger_AfterAll{Subtriggers: p.triggers()}}}
	case "any":
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_AfterAny_{AfterAny: &pipepb.Trigger_AfterAny{Subtriggers: p.triggers()}}}
	case "each":
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_AfterEach_{AfterEach: &pipepb.Trigger_AfterEach{Subtriggers: p.triggers()}}}
	case "finally":
		ts := append(p.triggers(), nil, nil)
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_OrFinally_{OrFinally: &pipepb.Trigger_OrFinally{Main: ts[0], Finally: ts[1]}}}
	case "repeat":
		ts := append(p.triggers(), nil)
		return &pipepb.Trigger{Trigger: &pipepb.Trigger_Repeat_{Repeat: &pipepb.Trigger_Repeat{Subtrigger: ts[0]}}}
	default:
		p.fail("unknown %q", name)
		return nil
	}
}

// transforms reads the rest of a processing time, whose first step is named.
func (p *parser) transforms(name string) []*pipepb.TimestampTransform {
	var steps []*pipepb.TimestampTransform
	for {
		if name == "align" {
			ns := p.numbers(2)
			steps = append(steps, &pipepb.TimestampTransform{TimestampTransform: &pipepb.TimestampTransform_AlignTo_{
				AlignTo: &pipepb.TimestampTransform_AlignTo{Period: ns[0], Offset: ns[1]}}})
		} else {
			steps = append(steps, &pipepb.TimestampTransform{TimestampTransform: &pipepb.TimestampTransform_Delay_{
				Delay: &pipepb.TimestampTransform_Delay{DelayMillis: p.numbers(1)[0]}}})
		}
		if !p.accept("+") {
			return steps
		}
		name = p.name()
	}
}

// Random makes up an expression of at most the given depth. pick(n) chooses a
// number from 0 to n-1.
func Random(pick func(n int) int, depth int) string {
	leaves := []string{"default", "never", "always", "sync", "eow", "count(1)", "count(2)", "count(3)", "delay(0)", "delay(10)", "align(7,3)", "delay(3)+align(10,0)"}
	n := len(leaves)
	if depth > 0 {
		n += 10
	}
	i := pick(n)
	if i < len(leaves) {
		return leaves[i]
	}
	sub := func() string { return Random(pick, depth-1) }
	subs := func() string {
		s := sub()
		for range pick(3) {
			s += "," + sub()
		}
		return s
	}
	switch i - len(leaves) {
	case 0, 1:
		return "repeat(" + sub() + ")"
	case 2:
		return "all(" + subs() + ")"
	case 3:
		return "any(" + subs() + ")"
	case 4, 5:
		return "each(" + subs() + ")"
	case 6:
		return "finally(" + sub() + "," + sub() + ")"
	case 7:
		return "eow(" + sub() + ")"
	case 8:
		return "eow(," + sub() + ")"
	}
	return "eow(" + sub() + "," + sub() + ")"
}
