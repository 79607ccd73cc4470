// Command smoke is one small pipeline for each thing that a version of Beam's Go SDK and Pharos have to agree about. It
// prints a line for each case: its name, a tab, and `ok` or the error. It compiles with each version.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window/trigger"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/rtrackers/offsetrange"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/passert"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/teststream"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"
)

func init() {
	register.Function2x0(emitPairs)
	register.Function2x2(both)
	register.Function2x1(sorted)
	register.Function2x1(total)
	register.Function3x1(look)
	register.Function2x1(square)
	register.Function1x2(fail)
	register.Function2x1(span)
	register.Function1x2(seconds)
	register.Emitter2[string, int]()
	register.Emitter3[beam.EventTime, string, int]()
	register.Emitter1[string]()
	register.Emitter1[int64]()
	register.Iter1[int]()
	register.DoFn2x0[[]byte, func(beam.EventTime, string, int)](&events{})
	register.DoFn6x0[beam.Window, state.Provider, timers.Provider, string, int, func(string)](&atTheEnd{})
	register.DoFn3x1[*sdf.LockRTracker, int64, func(int64), sdf.ProcessContinuation](&count{})
}

// emitPairs makes three pairs of two keys.
func emitPairs(_ []byte, emit func(string, int)) {
	emit("a", 1)
	emit("b", 2)
	emit("a", 3)
}

func both(k string, v int) (string, int) { return k, v }

// sorted makes a text of a group.
func sorted(k string, next func(*int) bool) string {
	var all []int
	for v := 0; next(&v); {
		all = append(all, v)
	}
	slices.Sort(all)
	return fmt.Sprint(k, " ", all)
}

func total(k string, v int) string { return fmt.Sprint(k, " ", v) }

// look sums a side input up.
func look(k string, one int, next func(*int) bool) string {
	sum := 0
	for v := 0; next(&v); {
		sum += v
	}
	return fmt.Sprint(k, " ", one, " ", sum)
}

var (
	elements = beam.NewCounter("smoke", "elements")
	sizes    = beam.NewDistribution("smoke", "sizes")
)

func square(ctx context.Context, x int) int {
	elements.Inc(ctx, 1)
	sizes.Update(ctx, int64(x))
	return x * x
}

func fail(x int) (int, error) { return 0, fmt.Errorf("boom %d", x) }

// span says in which window something is.
func span(w beam.Window, x int) string {
	i := w.(window.IntervalWindow)
	return fmt.Sprint(i.Start.Milliseconds()/1000, "-", i.End.Milliseconds()/1000, " ", x)
}

func seconds(x int64) (string, int) { return "k", int(x) }

// events are pairs at times, in seconds.
type events struct {
	Keys          []string
	Values, Times []int
}

func (e *events) ProcessElement(_ []byte, emit func(beam.EventTime, string, int)) {
	for i, k := range e.Keys {
		emit(mtime.FromTime(time.Unix(int64(e.Times[i]), 0)), k, e.Values[i])
	}
}

// atTheEnd gives the sum of a bag out when the window ends.
type atTheEnd struct {
	Numbers state.Bag[int]
	End     timers.EventTime
}

func (f *atTheEnd) ProcessElement(w beam.Window, s state.Provider, t timers.Provider, key string, x int, _ func(string)) {
	if err := f.Numbers.Add(s, x); err != nil {
		panic(err)
	}
	f.End.Set(t, w.MaxTimestamp().ToTime())
}

func (f *atTheEnd) OnTimer(_ context.Context, _ beam.EventTime, s state.Provider, _ timers.Provider, key string, _ timers.Context, emit func(string)) {
	all, _, err := f.Numbers.Read(s)
	if err != nil {
		panic(err)
	}
	sum := 0
	for _, x := range all {
		sum += x
	}
	emit(fmt.Sprint(key, " ", sum))
}

// count gives numbers out up to an element, and now and then the rest later.
type count struct{}

func (*count) CreateInitialRestriction(n int64) offsetrange.Restriction {
	return offsetrange.Restriction{End: n}
}

func (*count) SplitRestriction(_ int64, r offsetrange.Restriction) []offsetrange.Restriction {
	return r.EvenSplits(2)
}

func (*count) RestrictionSize(_ int64, r offsetrange.Restriction) float64 { return r.Size() }

func (*count) CreateTracker(r offsetrange.Restriction) *sdf.LockRTracker {
	return sdf.NewLockRTracker(offsetrange.NewTracker(r))
}

func (*count) ProcessElement(t *sdf.LockRTracker, _ int64, emit func(int64)) sdf.ProcessContinuation {
	for at := t.GetRestriction().(offsetrange.Restriction).Start; t.TryClaim(at); {
		emit(at)
		if at++; at%7 == 0 {
			return sdf.ResumeProcessingIn(0)
		}
	}
	return sdf.StopProcessing()
}

func pairs(s beam.Scope) beam.PCollection { return beam.ParDo(s, emitPairs, beam.Impulse(s)) }

// at makes events of one key.
func at(s beam.Scope, values, times []int) beam.PCollection {
	keys := make([]string, len(values))
	for i := range keys {
		keys[i] = "a"
	}
	return beam.ParDo(s, &events{keys, values, times}, beam.Impulse(s))
}

func groupByKey(s beam.Scope) {
	passert.Equals(s, beam.ParDo(s, sorted, beam.GroupByKey(s, pairs(s))), "a [1 3]", "b [2]")
}

func combine(s beam.Scope) {
	passert.Equals(s, beam.ParDo(s, total, stats.SumPerKey(s, pairs(s))), "a 4", "b 2")
}

func sideInputs(s beam.Scope) {
	numbers := beam.Create(s.Scope("side"), 5, 6)
	got := beam.ParDo(s, look, beam.ParDo(s, both, pairs(s)), beam.SideInput{Input: numbers})
	passert.Equals(s, got, "a 1 11", "b 2 11", "a 3 11")
}

func stateAndTimers(s beam.Scope) {
	in := beam.ParDo(s, &events{[]string{"a", "b", "a", "a"}, []int{1, 2, 3, 5}, []int{0, 1, 2, 11}}, beam.Impulse(s))
	sums := beam.ParDo(s, &atTheEnd{Numbers: state.MakeBagState[int]("numbers"), End: timers.InEventTime("end")},
		beam.WindowInto(s, window.NewFixedWindows(10*time.Second), in))
	passert.Equals(s, beam.WindowInto(s, window.NewGlobalWindows(), sums), "a 4", "b 2", "a 5")
}

func windows(s beam.Scope) {
	for name, c := range map[string]struct {
		fn   *window.Fn
		want []any
	}{
		"fixed":    {window.NewFixedWindows(10 * time.Second), []any{"0-10 3", "10-20 3"}},
		"sliding":  {window.NewSlidingWindows(5*time.Second, 10*time.Second), []any{"-5-5 3", "0-10 3", "5-15 3", "10-20 3"}},
		"sessions": {window.NewSessions(5 * time.Second), []any{"0-9 3", "11-16 3"}},
	} {
		s := s.Scope(name)
		in := beam.DropKey(s, at(s, []int{1, 2, 3}, []int{0, 4, 11}))
		sums := stats.Sum(s, beam.WindowInto(s, c.fn, in))
		passert.Equals(s, beam.WindowInto(s, window.NewGlobalWindows(), beam.ParDo(s, span, sums)), c.want...)
	}
}

func splittableDoFn(s beam.Scope) {
	var want []any
	for _, n := range []int64{25, 5} {
		for i := range n {
			want = append(want, i)
		}
	}
	passert.Equals(s, beam.ParDo(s, &count{}, beam.Create(s, int64(25), int64(5))), want...)
}

func outputsAndReshuffle(s beam.Scope) {
	all := beam.Flatten(s, beam.Create(s, 1, 2), beam.Create(s.Scope("more"), 3))
	passert.Equals(s, beam.Reshuffle(s, all), 1, 2, 3)
}

func stream(s beam.Scope) {
	c := teststream.NewConfig()
	for _, at := range []int64{1, 2, 12} {
		if err := errors.Join(c.AddElements(1000*at, at), c.AdvanceWatermark(1000*at)); err != nil {
			panic(err)
		}
	}
	if err := c.AdvanceWatermarkToInfinity(); err != nil {
		panic(err)
	}
	in := beam.ParDo(s, seconds, teststream.Create(s, c))
	early := trigger.AfterEndOfWindow().EarlyFiring(trigger.AfterCount(1))
	windowed := beam.WindowInto(s, window.NewFixedWindows(10*time.Second), in, beam.Trigger(early), beam.PanesDiscard())
	texts := beam.ParDo(s, sorted, beam.GroupByKey(s, windowed))
	passert.Equals(s, beam.WindowInto(s, window.NewGlobalWindows(), texts), "k [1]", "k [2]", "k [12]")
}

// run runs a pipeline.
func run(ctx context.Context, make func(beam.Scope)) (beam.PipelineResult, error) {
	p, s := beam.NewPipelineWithRoot()
	make(s)
	return beamx.RunWithMetrics(ctx, p)
}

func failure(ctx context.Context) error {
	_, err := run(ctx, func(s beam.Scope) { beam.ParDo(s.Scope("ThisStep"), fail, beam.Create(s, 7)) })
	if err == nil || !strings.Contains(err.Error(), "boom 7") || !strings.Contains(err.Error(), "main.fail") {
		return fmt.Errorf("the job ended with %w", err)
	}
	return nil
}

func metrics(ctx context.Context) error {
	result, err := run(ctx, func(s beam.Scope) { passert.Equals(s, beam.ParDo(s, square, beam.Create(s, 1, 2, 3)), 1, 4, 9) })
	if err != nil {
		return err
	}
	all := result.Metrics().AllMetrics()
	for _, c := range all.Counters() {
		if c.Name() != "elements" || c.Result() != 3 {
			return fmt.Errorf("counter %v", c)
		}
	}
	for _, d := range all.Distributions() {
		if d.Name() != "sizes" || d.Result().Sum != 6 {
			return fmt.Errorf("distribution %v", d)
		}
	}
	if len(all.Counters()) != 1 || len(all.Distributions()) != 1 {
		return fmt.Errorf("metrics %v", all)
	}
	return nil
}

// pipeline is a case that is right when its job is done.
func pipeline(make func(beam.Scope)) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := run(ctx, make)
		return err
	}
}

func main() {
	flag.Parse()
	beam.Init()
	failed := false
	for _, c := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"group_by_key", pipeline(groupByKey)},
		{"combine", pipeline(combine)},
		{"side_inputs", pipeline(sideInputs)},
		{"state_and_timers", pipeline(stateAndTimers)},
		{"windows", pipeline(windows)},
		{"failure", failure},
		{"metrics", metrics},
		{"splittable_dofn", pipeline(splittableDoFn)},
		{"outputs_and_reshuffle", pipeline(outputsAndReshuffle)},
		{"stream", pipeline(stream)},
	} {
		if flag.NArg() > 0 && !slices.Contains(flag.Args(), c.name) {
			continue
		}
		outcome := "ok"
		if err := c.run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			outcome, _, _ = strings.Cut(err.Error(), "\n")
			failed = true
		}
		fmt.Printf("%s\t%s\n", c.name, outcome)
	}
	if failed {
		os.Exit(1)
	}
}
