package main

import (
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
)

// workloads build a pipeline and return the sum that it must compute.
var workloads = map[string]func(beam.Scope) int64{
	"hello":   hello,
	"fused":   fused,
	"gbk":     gbk,
	"combine": combine,
	"side":    side,
	"state":   stateful,
	"timers":  timed,
	"window":  windowed,
	"chain":   chain,
}

// hello is the smallest job: what is left is what a job costs.
func hello(s beam.Scope) int64 {
	beam.ParDo0(s, sink, beam.Create(s, int64(1), int64(2), int64(3)))
	return 6
}

// fused has no shuffle after the generator: the data never has to leave the harness.
func fused(s beam.Scope) int64 {
	ones := beam.ParDo(s, kvOne, generate(s))
	beam.ParDo0(s, sink, stats.Sum(s, beam.DropKey(s, ones)))
	return *n
}

// gbk shuffles every byte.
func gbk(s beam.Scope) int64 {
	beam.ParDo0(s, sink, beam.ParDo(s, countValues, beam.GroupByKey(s, generate(s))))
	return *n
}

func combine(s beam.Scope) int64 {
	c := beam.CombinePerKey(s, add, beam.ParDo(s, kvOne, generate(s)))
	beam.ParDo0(s, sink, beam.DropKey(s, c))
	return *n
}

// side looks every element's key up in a side input.
func side(s beam.Scope) int64 {
	table := beam.ParDo(s, keyOne, beam.CreateList(s, count(*keys)))
	found := beam.ParDo(s, lookup, generate(s), beam.SideInput{Input: table})
	beam.ParDo0(s, sink, stats.Sum(s, found))
	return *n
}

// stateful reads and writes a value of state for every element.
func stateful(s beam.Scope) int64 {
	ones := beam.ParDo(s, &countFn{Count: state.MakeValueState[int64]("count")}, generate(s))
	beam.ParDo0(s, sink, stats.Sum(s, ones))
	return *n
}

// timed sets a timer for every element; the timers report what was counted.
func timed(s beam.Scope) int64 {
	beam.ParDo0(s, &flushFn{Seen: state.MakeValueState[int64]("seen"), Flush: timers.InEventTime("flush")}, generate(s))
	return *n
}

// windowed combines in windows of 10 s, with an element each millisecond.
func windowed(s beam.Scope) int64 {
	events := beam.ParDo(s, &genTimed{N: *n, Keys: *keys, Shards: *shards}, starts(s))
	w := beam.WindowInto(s, window.NewFixedWindows(10*time.Second), events)
	c := beam.WindowInto(s, window.NewGlobalWindows(), beam.CombinePerKey(s, add, w))
	beam.ParDo0(s, sink, stats.Sum(s, beam.DropKey(s, c)))
	return *n
}

// chain is many small shuffles, one after the other: what a stage costs.
func chain(s beam.Scope) int64 {
	c := beam.CreateList(s, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	for range *depth {
		c = beam.ParDo(s, sumValues, beam.GroupByKey(s, beam.ParDo(s, withKey, c)))
	}
	beam.ParDo0(s, sink, c)
	return 55
}

// starts gives each of the generator's shards, shuffled so that they spread over bundles.
func starts(s beam.Scope) beam.PCollection {
	return beam.Reshuffle(s, beam.CreateList(s, count(*shards)))
}

func generate(s beam.Scope) beam.PCollection {
	return beam.ParDo(s, &genKV{N: *n, Keys: *keys, Shards: *shards, Size: *size}, starts(s))
}

func count(n int64) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = int64(i)
	}
	return list
}
