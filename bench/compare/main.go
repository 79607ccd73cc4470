// Command compare runs load pipelines on Pharos and on Prism in turn, and writes a table of ratios.
//
//	go run ./bench/compare [--repeats 5] [--workloads gbk,combine] [--write docs/performance.md]
//
// Each run has a runner of its own, started for it and ended after it, so that no run pays for another one's garbage;
// the two runners alternate, so that a slow spell of the machine hits both. A figure is the median of the repeats.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/bench/load"
)

// runLimit ends a run that hangs.
const runLimit = 5 * time.Minute

// workload is a pipeline of bench/goload with its size.
type workload struct {
	name  string
	n     int64
	args  []string
	about string
}

var loads = []workload{
	{"hello", 3, nil, "three elements: what a job costs"},
	{"chain", 10, []string{"--depth", "20"}, "20 shuffles of 10 elements, one after the other: what a stage costs"},
	{"fused", 2_000_000, []string{"--keys", "10000"}, "ParDos and a lifted sum: what never has to leave the worker"},
	{"gbk", 1_000_000, []string{"--keys", "10000"}, "GroupByKey of 100-byte values, 10,000 keys"},
	{"combine", 1_000_000, []string{"--keys", "10000"}, "CombinePerKey, 10,000 keys"},
	{"side", 200_000, []string{"--keys", "1000"}, "a lookup in a side input of 1,000 keys for every element"},
	{"window", 1_000_000, []string{"--keys", "1000"}, "CombinePerKey in 10 s windows, 1,000 keys"},
	{"state", 100_000, []string{"--keys", "1000"}, "a value of state read and written for every element"},
	{"timers", 100_000, []string{"--keys", "1000"}, "a timer set for every element"},
}

type options struct {
	pharos, prism, goload, workloads, write string
	repeats                                 int
	scale                                   float64
}

// row is what one load gave.
type row struct {
	load         workload
	pharos       []load.Sample
	prism        []load.Sample
	pharosFailed string
	prismFailed  string
}

func main() {
	var o options
	flag.StringVar(&o.pharos, "pharos", "bin/pharos", "binary of Pharos")
	flag.StringVar(&o.prism, "prism", ".cache/bin/prism", "binary of Prism")
	flag.StringVar(&o.goload, "goload", ".cache/bin/goload", "binary of bench/goload; built first where it is this one")
	flag.StringVar(&o.workloads, "workloads", "", "only these, comma-separated")
	flag.StringVar(&o.write, "write", "docs/performance.md", "file whose table is replaced; empty for none")
	flag.IntVar(&o.repeats, "repeats", 5, "runs of each load on each runner")
	flag.Float64Var(&o.scale, "scale", 1, "factor on the elements of the loads of at least 1,000")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	goload, err := load.Build(ctx, o.goload, runLimit)
	if err != nil {
		return err
	}
	var rows []row
	for _, l := range loads {
		if o.workloads != "" && !slices.Contains(strings.Split(o.workloads, ","), l.name) {
			continue
		}
		if l.n >= 1000 {
			l.n = int64(float64(l.n) * o.scale)
		}
		r, err := compare(ctx, o, goload, l)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	text := render(rows, o.repeats)
	fmt.Print(text)
	if o.write == "" {
		return nil
	}
	return table.Replace(o.write, text)
}

// compare runs one load on both runners in turn.
func compare(ctx context.Context, o options, goload *load.Goload, l workload) (row, error) {
	r := row{load: l}
	for i := range o.repeats {
		fmt.Fprintf(os.Stderr, "%s, %d elements, %d of %d:", l.name, l.n, i+1, o.repeats)
		both := []func(){
			func() { r.pharosFailed = firstOf(r.pharosFailed, measure(ctx, goload, o.pharos, l, &r.pharos)) },
			func() { r.prismFailed = firstOf(r.prismFailed, measure(ctx, goload, o.prism, l, &r.prism)) },
		}
		if i%2 == 1 {
			slices.Reverse(both)
		}
		for _, f := range both {
			f()
		}
		fmt.Fprintln(os.Stderr)
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
	}
	return r, nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// measure runs the load once on a fresh runner; it returns why that failed.
func measure(ctx context.Context, goload *load.Goload, runner string, w workload, samples *[]load.Sample) (failed string) {
	s, err := goload.Run(ctx, runner, w.name, w.n, w.args)
	if err != nil {
		return err.Error()
	}
	fmt.Fprintf(os.Stderr, " %s %.2fs", filepath.Base(runner), s.Seconds)
	*samples = append(*samples, s)
	return ""
}
