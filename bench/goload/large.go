package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/rtrackers/offsetrange"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
)

// The loads of this file are for data larger than the runner's memory, and for streams: see bench/large. Every value
// begins with its key, and whoever reads it checks that.
func init() {
	for name, build := range map[string]func(beam.Scope) int64{
		"hot": hot, "distinct": distinct, "sidescan": sideScan, "sidelookup": sideLookup, "stream": stream,
	} {
		workloads[name] = build
	}
	register.DoFn2x0[int64, func(int64, []byte)](&genHot{})
	register.DoFn2x0[int64, func(int64, int64)](&genDistinct{})
	register.DoFn2x0[int64, func(int64)](&genKeys{})
	register.DoFn4x1[*sdf.ManualWatermarkEstimator, *sdf.LockRTracker, int64, func(beam.EventTime, int64, []byte), sdf.ProcessContinuation](&genStream{})
	register.Function2x2(checkValues)
	register.Function2x1(onlyOne)
	register.Function2x1(scan)
	register.Function2x2(lookupOne)
	register.Emitter1[int64]()
	register.Emitter2[int64, int64]()
	register.Emitter3[beam.EventTime, int64, []byte]()
}

// hot groups values of which a sixth belong to one key, and the others to keys at random.
func hot(s beam.Scope) int64 {
	pairs := beam.ParDo(s, &genHot{N: *n, Keys: *keys, Shards: *shards, Size: *size}, starts(s))
	beam.ParDo0(s, sink, beam.ParDo(s, checkValues, beam.GroupByKey(s, pairs)))
	return *n
}

// distinct combines elements that nearly all have a key of their own.
func distinct(s beam.Scope) int64 {
	ones := beam.ParDo(s, &genDistinct{N: *n, Shards: *shards}, starts(s))
	beam.ParDo0(s, sink, beam.ParDo(s, onlyOne, beam.CombinePerKey(s, add, ones)))
	return *n
}

// readers is how many elements read a whole side input.
const readers = 2

// sideScan has elements that read a side input from its beginning to its end.
func sideScan(s beam.Scope) int64 {
	values := beam.DropKey(s, beam.ParDo(s, &genHot{N: *n, Keys: *keys, Shards: *shards, Size: *size}, starts(s)))
	main := beam.Reshuffle(s, beam.CreateList(s, count(readers)))
	beam.ParDo0(s, sink, beam.ParDo(s, scan, main, beam.SideInput{Input: values}))
	return readers * *n
}

// lookupShare of the keys of a side input are looked up: one in so many.
const lookupShare = 10

// sideLookup looks keys up in a side input.
func sideLookup(s beam.Scope) int64 {
	table := beam.ParDo(s, &genHot{N: *n, Shards: *shards, Size: *size}, starts(s))
	asked := beam.ParDo(s, &genKeys{N: *n / lookupShare, Of: *n, Shards: *shards}, starts(s))
	found := beam.ParDo(s, lookupOne, asked, beam.SideInput{Input: table})
	beam.ParDo0(s, sink, stats.Sum(s, found))
	return *n / lookupShare
}

// streamWindow is the window of the stream, with an element each millisecond in each of its shards.
const streamWindow = 10 * time.Second

// stream groups an unbounded source that ends after N elements, as fast as it goes.
func stream(s beam.Scope) int64 {
	events := beam.ParDo(s, &genStream{N: *n, Keys: *keys, Shards: *shards, Size: *size}, starts(s))
	w := beam.WindowInto(s, window.NewFixedWindows(streamWindow), events)
	beam.ParDo0(s, sink, beam.ParDo(s, checkValues, beam.GroupByKey(s, w)))
	return *n
}

// genHot makes N pairs. With Keys, a sixth of them have the key 0 and the others random ones; else each has its own.
type genHot struct {
	N, Keys, Shards int64
	Size            int
}

const hotShare = 6

// ProcessElement makes the pairs of one shard.
func (f *genHot) ProcessElement(shard int64, emit func(int64, []byte)) {
	r := newRandom(shard)
	buf := make([]byte, max(f.Size, 8))
	for i := shard; i < f.N; i += f.Shards {
		key := i
		if f.Keys > 0 {
			if key = 0; i%hotShare != 0 {
				key = int64(r.next() % uint64(f.Keys))
			}
		}
		r.fill(buf, key)
		emit(key, buf)
	}
}

// genDistinct makes N pairs of a key that no other has, and one.
type genDistinct struct{ N, Shards int64 }

// ProcessElement makes the pairs of one shard.
func (f *genDistinct) ProcessElement(shard int64, emit func(int64, int64)) {
	for i := shard; i < f.N; i += f.Shards {
		emit(i, 1)
	}
}

// genKeys makes N random keys below Of.
type genKeys struct{ N, Of, Shards int64 }

// ProcessElement makes the keys of one shard.
func (f *genKeys) ProcessElement(shard int64, emit func(int64)) {
	r := newRandom(shard)
	for i := shard; i < f.N; i += f.Shards {
		emit(int64(r.next() % uint64(f.Of)))
	}
}

// genStream makes N pairs from an unbounded source.
type genStream struct {
	N, Keys, Shards int64
	Size            int
}

// CreateInitialRestriction counts the pairs of a shard.
func (f *genStream) CreateInitialRestriction(shard int64) offsetrange.Restriction {
	return offsetrange.Restriction{Start: 0, End: (f.N - shard + f.Shards - 1) / f.Shards}
}

// SplitRestriction leaves it whole.
func (f *genStream) SplitRestriction(_ int64, r offsetrange.Restriction) []offsetrange.Restriction {
	return []offsetrange.Restriction{r}
}

// RestrictionSize is in elements.
func (f *genStream) RestrictionSize(_ int64, r offsetrange.Restriction) float64 { return r.Size() }

// CreateTracker makes the tracker.
func (f *genStream) CreateTracker(r offsetrange.Restriction) *sdf.LockRTracker {
	return sdf.NewLockRTracker(offsetrange.NewTracker(r))
}

// CreateWatermarkEstimator makes the estimator.
func (f *genStream) CreateWatermarkEstimator() *sdf.ManualWatermarkEstimator {
	return &sdf.ManualWatermarkEstimator{}
}

// ProcessElement makes the pairs of a restriction.
func (f *genStream) ProcessElement(we *sdf.ManualWatermarkEstimator, rt *sdf.LockRTracker, shard int64, emit func(beam.EventTime, int64, []byte)) sdf.ProcessContinuation {
	start := time.Unix(epochSeconds, 0)
	r := newRandom(shard)
	buf := make([]byte, max(f.Size, 8))
	for i := rt.GetRestriction().(offsetrange.Restriction).Start; rt.TryClaim(i); i++ {
		at := start.Add(time.Duration(i) * time.Millisecond)
		key := int64(r.next() % uint64(f.Keys))
		r.fill(buf, key)
		emit(mtime.FromTime(at), key, buf)
		we.UpdateWatermark(at)
	}
	return sdf.StopProcessing()
}

// random is a small generator of numbers.
type random uint64

func newRandom(seed int64) random { return random(uint64(seed)*0x9E3779B97F4A7C15 + 1) }

func (r *random) next() uint64 {
	x := uint64(*r)
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*r = random(x)
	return x
}

// fill writes the key and then numbers into a value.
func (r *random) fill(buf []byte, key int64) {
	binary.LittleEndian.PutUint64(buf, uint64(key))
	x := r.next()
	for j := 8; j+8 <= len(buf); j += 8 {
		binary.LittleEndian.PutUint64(buf[j:], x*uint64(j+1))
	}
}

func checkValues(key int64, next func(*[]byte) bool) (c int64, err error) {
	var v []byte
	for next(&v) {
		if err := check(v, key); err != nil {
			return 0, err
		}
		c++
	}
	return c, nil
}

func check(value []byte, key int64) error {
	if got := int64(binary.LittleEndian.Uint64(value)); got != key {
		return fmt.Errorf("a value of key %d is among those of key %d", got, key)
	}
	return nil
}

// onlyOne counts the keys that have got exactly one element.
func onlyOne(_, total int64) int64 {
	if total == 1 {
		return 1
	}
	return 0
}

func scan(_ int64, next func(*[]byte) bool) (c int64) {
	var v []byte
	for next(&v) {
		c++
	}
	return c
}

func lookupOne(key int64, table func(int64) func(*[]byte) bool) (int64, error) {
	return checkValues(key, table(key))
}
