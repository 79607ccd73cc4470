package main

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
)

// epochSeconds is the event time of the first element.
const epochSeconds = 1700000000

func init() {
	register.DoFn2x0[int64, func(int64, []byte)](&genKV{})
	register.DoFn3x0[beam.EventTime, int64, func(beam.EventTime, int64, int64)](&genTimed{})
	register.DoFn3x1[state.Provider, int64, []byte, int64](&countFn{})
	register.DoFn4x0[state.Provider, timers.Provider, int64, []byte](&flushFn{})
	register.Function2x1(countValues)
	register.Function2x1(sumValues)
	register.Function2x2(kvOne)
	register.Function3x1(lookup)
	register.Function1x2(withKey)
	register.Function1x2(keyOne)
	register.Function1x0(sink)
	register.Function2x1(add)
	register.Emitter2[int64, []byte]()
	register.Emitter3[beam.EventTime, int64, int64]()
	register.Iter1[[]byte]()
	register.Iter1[int64]()
}

// genKV makes N pairs of a pseudo-random key and value; a shard makes every Shards-th of them.
type genKV struct {
	N, Keys, Shards int64
	Size            int
}

// ProcessElement makes the pairs of one shard.
func (f *genKV) ProcessElement(shard int64, emit func(int64, []byte)) {
	buf := make([]byte, f.Size)
	x := uint64(shard)*0x9E3779B97F4A7C15 + 1
	for i := shard; i < f.N; i += f.Shards {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		for j := 0; j+8 <= len(buf); j += 8 {
			binary.LittleEndian.PutUint64(buf[j:], x*uint64(j+1))
		}
		emit(int64(x%uint64(f.Keys)), buf)
	}
}

// genTimed makes N pairs of a key and one, a millisecond of event time apart.
type genTimed struct{ N, Keys, Shards int64 }

// ProcessElement makes the pairs of one shard.
func (f *genTimed) ProcessElement(_ beam.EventTime, shard int64, emit func(beam.EventTime, int64, int64)) {
	base := mtime.FromTime(time.Unix(epochSeconds, 0))
	for i := shard; i < f.N; i += f.Shards {
		emit(base.Add(time.Duration(i)*time.Millisecond), i%f.Keys, 1)
	}
}

// countFn counts each key's elements in a value of state, and emits one for each.
type countFn struct{ Count state.Value[int64] }

// ProcessElement counts one element.
func (f *countFn) ProcessElement(p state.Provider, _ int64, _ []byte) int64 {
	increment(p, f.Count)
	return 1
}

// flushFn counts each key's elements, and adds the count to the result when the key's timer fires.
type flushFn struct {
	Seen  state.Value[int64]
	Flush timers.EventTime
}

// ProcessElement counts one element and sets the timer.
func (f *flushFn) ProcessElement(p state.Provider, tp timers.Provider, _ int64, _ []byte) {
	increment(p, f.Seen)
	f.Flush.Set(tp, time.Unix(epochSeconds, 0))
}

// OnTimer reports a key's count.
func (f *flushFn) OnTimer(_ context.Context, _ beam.EventTime, p state.Provider, _ timers.Provider, _ int64, _ timers.Context) {
	seen, _, err := f.Seen.Read(p)
	if err != nil {
		panic(err)
	}
	sum.Add(seen)
}

// increment adds one; an error becomes the bundle's failure.
func increment(p state.Provider, v state.Value[int64]) {
	c, _, err := v.Read(p)
	if err == nil {
		err = v.Write(p, c+1)
	}
	if err != nil {
		panic(err)
	}
}

func countValues(_ int64, next func(*[]byte) bool) (c int64) {
	var v []byte
	for next(&v) {
		c++
	}
	return c
}

func sumValues(_ int64, next func(*int64) bool) (total int64) {
	var v int64
	for next(&v) {
		total += v
	}
	return total
}

func lookup(k int64, _ []byte, table func(int64) func(*int64) bool) int64 {
	return sumValues(k, table(k))
}

func kvOne(k int64, _ []byte) (int64, int64) { return k, 1 }
func keyOne(v int64) (int64, int64)          { return v, 1 }
func withKey(v int64) (int64, int64)         { return v % 7, v }
func add(a, b int64) int64                   { return a + b }
func sink(v int64)                           { sum.Add(v) }
