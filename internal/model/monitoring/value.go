package monitoring

import (
	"iter"
	"maps"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Value is a metric in a form for displays. Which of the fields after Labels
// are set depends on Type; the others are zero.
type Value struct {
	URN, Type string
	Labels    map[string]string

	// Int and Double are sums, gauges, and the amount of work of progress.
	Int    int64
	Double float64
	// AtMS is when a gauge was set, in milliseconds since the Unix epoch.
	AtMS         int64
	Distribution *Distribution
	// Ints and Doubles are extremes, the most extreme first.
	Ints    []int64
	Doubles []float64
	// Strings are the strings of a set, sorted.
	Strings []string
	// Paths are the paths of a bounded trie, sorted; a path that has been
	// truncated ends in "*".
	Paths     [][]string
	Histogram *pipepb.HistogramValue
}

// Distribution is the value of a distribution of integers or doubles. Without
// values all of it is zero.
type Distribution struct {
	Count         int64
	Sum, Min, Max float64
}

// Mean is the average, 0 without values.
func (d Distribution) Mean() float64 {
	if d.Count == 0 {
		return 0
	}
	return d.Sum / float64(d.Count)
}

// All returns the metrics, sorted by URN, type and labels.
func (s *Set) All() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		for _, k := range s.keys() {
			if !yield(s.entries[k].display()) {
				return
			}
		}
	}
}

func (e *entry) display() Value {
	v := Value{URN: e.urn, Type: e.typ, Labels: maps.Clone(e.labels)}
	e.value.fill(&v)
	return v
}

// Counter returns the sum of all integer counters of a URN that have the label,
// such as the elements of a PCollection:
//
//	s.Counter(urn.MetricElementCount, urn.LabelPCollection, id)
func (s *Set) Counter(metric, label, value string) int64 {
	var total int64
	for _, k := range s.keys() {
		e := s.entries[k]
		if c, ok := e.value.(*sum[int64]); ok && e.matches(metric, label, value) {
			total += c.v
		}
	}
	return total
}

// Distribution returns the sum of all distributions of a URN that have the
// label, and whether there is one.
func (s *Set) Distribution(metric, label, value string) (Distribution, bool) {
	// Integers are added before they become doubles, so that the order does not
	// matter. The URNs that exist are of one type each.
	var found accumulator
	for _, k := range s.keys() {
		e := s.entries[k]
		if !e.matches(metric, label, value) || e.typ != urn.TypeDistributionInt64 && e.typ != urn.TypeDistributionDouble {
			continue
		}
		switch {
		case found == nil:
			found = e.value.clone()
		case sameType(found, e.value):
			found.merge(e.value)
		}
	}
	if found == nil {
		return Distribution{}, false
	}
	var v Value
	found.fill(&v)
	return *v.Distribution, true
}

func sameType(a, b accumulator) bool {
	_, x := a.(*distribution[int64])
	_, y := b.(*distribution[int64])
	return x == y
}

func (e *entry) matches(metric, label, value string) bool {
	v, ok := e.labels[label]
	return ok && v == value && e.urn == metric
}

func (s *sum[T]) fill(v *Value)    { setNumber(v, s.v) }
func (p *progress) fill(v *Value)  { v.Double = p.work }
func (u *unknown) fill(*Value)     {}
func (h *histogram) fill(v *Value) { v.Histogram = h.proto() }

func (l *latest[T]) fill(v *Value) {
	v.AtMS = l.at
	setNumber(v, l.v)
}

func (d *distribution[T]) fill(v *Value) {
	v.Distribution = &Distribution{}
	if d.count != 0 {
		*v.Distribution = Distribution{
			Count: d.count, Sum: float64(d.sum), Min: float64(d.min), Max: float64(d.max),
		}
	}
}

func (e *extremes[T]) fill(v *Value) {
	for _, x := range e.values {
		if f, ok := any(x).(float64); ok {
			v.Doubles = append(v.Doubles, f)
		} else {
			v.Ints = append(v.Ints, int64(x))
		}
	}
}

func (s *stringSet) fill(v *Value) { v.Strings = append(v.Strings, s.values...) }

func (t *trie) fill(v *Value) {
	if trimmed := t.trimmed(); trimmed.root != nil {
		v.Paths = trimmed.root.paths(nil, nil)
	}
}

func setNumber[T number](v *Value, x T) {
	if f, ok := any(x).(float64); ok {
		v.Double = f
	} else {
		v.Int = int64(x)
	}
}
