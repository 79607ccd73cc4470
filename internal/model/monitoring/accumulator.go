package monitoring

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// ErrBadPayload is the error for a payload that is not of the type of its info.
var ErrBadPayload = errors.New("malformed payload")

// accumulator is the value of a metric of one type.
type accumulator interface {
	// merge adds a value of the same type, which it may take over.
	merge(o accumulator)
	// encode returns the payload for users and other systems.
	encode() []byte
	// state returns a payload from which decode makes an equal accumulator.
	state() []byte
	clone() accumulator
	// fill writes the value in the form for displays.
	fill(v *Value)
}

// decode makes an accumulator from a payload.
func decode(typ string, payload []byte) (accumulator, error) {
	r := &reader{rest: payload}
	a := read(typ, r)
	if r.err != nil {
		return nil, r.err
	}
	if len(r.rest) > 0 {
		return decodeListed(typ, payload)
	}
	return a, nil
}

// listPrefix begins a list of four values: their number, as an int32.
const listPrefix = "\x00\x00\x00\x04"

// decodeListed decodes a distribution that is written as a list: TypeScript
// does that, and reads only that back. It cannot be mistaken for the form that
// Beam's model defines, which has nothing behind the fourth value: here these
// are the bytes of the prefix.
func decodeListed(typ string, payload []byte) (accumulator, error) {
	list, ok := bytes.CutPrefix(payload, []byte(listPrefix))
	if typ != urn.TypeDistributionInt64 || !ok {
		return nil, errTrailing
	}
	r := &reader{rest: list}
	d := read(typ, r).(*distribution[int64])
	if r.err != nil || len(r.rest) > 0 {
		return nil, errTrailing
	}
	d.listed = true
	return d, nil
}

func read(typ string, r *reader) accumulator {
	switch typ {
	case urn.TypeSumInt64:
		return &sum[int64]{v: r.int64()}
	case urn.TypeSumDouble:
		return &sum[float64]{v: r.double()}
	case urn.TypeDistributionInt64:
		return readDistribution[int64](r, math.MaxInt64, math.MinInt64)
	case urn.TypeDistributionDouble:
		return readDistribution(r, math.Inf(1), math.Inf(-1))
	case urn.TypeLatestInt64:
		return &latest[int64]{at: r.int64(), v: r.int64()}
	case urn.TypeLatestDouble:
		return &latest[float64]{at: r.int64(), v: r.double()}
	case urn.TypeTopNInt64:
		return readExtremes[int64](r, -1)
	case urn.TypeTopNDouble:
		return readExtremes[float64](r, -1)
	case urn.TypeBottomNInt64:
		return readExtremes[int64](r, 1)
	case urn.TypeBottomNDouble:
		return readExtremes[float64](r, 1)
	case urn.TypeProgress:
		return readProgress(r)
	case urn.TypeSetString:
		return readStrings(r)
	case urn.TypeBoundedTrie:
		return readTrie(r)
	case urn.TypeHistogramInt64:
		return readHistogram(r)
	}
	return &unknown{payload: bytes.Clone(r.all())}
}

// sum is the type of counters.
type sum[T number] struct{ v T }

func (s *sum[T]) merge(o accumulator) { s.v += o.(*sum[T]).v }
func (s *sum[T]) encode() []byte      { return appendNumber(nil, s.v) }
func (s *sum[T]) state() []byte       { return s.encode() }
func (s *sum[T]) clone() accumulator  { c := *s; return &c }

// distribution has in min and max the neutral elements while count is zero.
type distribution[T number] struct {
	count         int64
	sum, min, max T
	listed        bool // the payload is a list, see decodeListed
}

func readDistribution[T number](r *reader, noMin, noMax T) accumulator {
	d := &distribution[T]{count: r.int64(), sum: readNumber[T](r), min: readNumber[T](r), max: readNumber[T](r)}
	if d.count == 0 {
		d.min, d.max = noMin, noMax
	}
	return d
}

func (d *distribution[T]) merge(o accumulator) {
	od := o.(*distribution[T])
	d.count += od.count
	d.sum += od.sum
	d.min = min(d.min, od.min)
	d.max = max(d.max, od.max)
}

func (d *distribution[T]) encode() []byte {
	var dst []byte
	if d.listed {
		dst = append(dst, listPrefix...)
	}
	dst = coder.AppendVarint(dst, uint64(d.count))
	for _, v := range []T{d.sum, d.min, d.max} {
		dst = appendNumber(dst, v)
	}
	return dst
}

func (d *distribution[T]) state() []byte      { return d.encode() }
func (d *distribution[T]) clone() accumulator { c := *d; return &c }

// latest is the type of gauges. Of two values of the same time the larger wins.
type latest[T number] struct {
	at int64
	v  T
}

func (l *latest[T]) merge(o accumulator) {
	ol := o.(*latest[T])
	if ol.at > l.at || ol.at == l.at && compare(ol.v, l.v) > 0 {
		*l = *ol
	}
}

func (l *latest[T]) encode() []byte {
	return appendNumber(coder.AppendVarint(nil, uint64(l.at)), l.v)
}

func (l *latest[T]) state() []byte      { return l.encode() }
func (l *latest[T]) clone() accumulator { c := *l; return &c }

// MaxExtremes is how many values a metric of type top n or bottom n has. The
// infos do not say what their n is, so it must be the same for all.
const MaxExtremes = 100

// extremes are the largest or smallest values, the most extreme first.
type extremes[T number] struct {
	values []T
	sign   int // -1: the largest, 1: the smallest
}

func readExtremes[T number](r *reader, sign int) accumulator {
	e := &extremes[T]{sign: sign}
	r.each(func() { e.values = append(e.values, readNumber[T](r)) })
	e.trim()
	return e
}

func (e *extremes[T]) trim() {
	slices.SortFunc(e.values, func(a, b T) int { return e.sign * compare(a, b) })
	e.values = slices.Clip(e.values[:min(len(e.values), MaxExtremes)])
}

func (e *extremes[T]) merge(o accumulator) {
	e.values = append(e.values, o.(*extremes[T]).values...)
	e.trim()
}

func (e *extremes[T]) encode() []byte { return appendNumbers(nil, e.values) }
func (e *extremes[T]) state() []byte  { return e.encode() }
func (e *extremes[T]) clone() accumulator {
	return &extremes[T]{values: slices.Clone(e.values), sign: e.sign}
}

// progress is an amount of work for each active element of a transform. These
// do not overlap, so the amount of several bundles is the sum.
type progress struct{ work float64 }

func readProgress(r *reader) accumulator {
	p := &progress{}
	r.each(func() { p.work += r.double() })
	return p
}

func (p *progress) merge(o accumulator) { p.work += o.(*progress).work }
func (p *progress) encode() []byte      { return appendNumbers(nil, []float64{p.work}) }
func (p *progress) state() []byte       { return p.encode() }
func (p *progress) clone() accumulator  { c := *p; return &c }

// unknown is the value of a type that Pharos does not know: the last payload.
type unknown struct{ payload []byte }

func (u *unknown) merge(o accumulator) { u.payload = o.(*unknown).payload }
func (u *unknown) encode() []byte      { return bytes.Clone(u.payload) }
func (u *unknown) state() []byte       { return u.payload }
func (u *unknown) clone() accumulator  { c := *u; return &c }

// compare orders all doubles, also NaNs and zeros of either sign, so that
// equal means the same bits.
func compare[T number](a, b T) int {
	if c := cmp.Compare(a, b); c != 0 {
		return c
	}
	return cmp.Compare(bitsOf(a), bitsOf(b))
}

func bitsOf[T number](v T) uint64 {
	if f, ok := any(v).(float64); ok {
		return math.Float64bits(f)
	}
	return uint64(v)
}
