// Command jobs runs many small jobs at the same time on Pharos and on Prism in turn, and writes a table of how long each
// job took.
//
//	go run ./bench/jobs [--jobs 100] [--repeats 3] [--write docs/performance.md]
//
// All jobs are submitted at once, by one program, which is also their worker (LOOPBACK). What a job takes is what its client
// waits: from the submission to the last state. Each run has a runner of its own; the two runners alternate, so that a slow
// spell of the machine hits both.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/bench/load"
)

// runLimit ends a run that hangs.
const runLimit = 5 * time.Minute

// workloads are small jobs, with the number of their elements.
var workloads = []struct {
	name  string
	n     int64
	about string
}{
	{"hello", 3, "three elements"},
	{"gbk", 10_000, "GroupByKey of 10,000 elements"},
}

// table is where the document has what this program writes.
var table = load.Table{Begin: "<!-- bench/jobs begins -->", End: "<!-- bench/jobs ends -->"}

type options struct {
	pharos, prism, goload, write string
	jobs, repeats                int
}

func main() {
	var o options
	flag.StringVar(&o.pharos, "pharos", "bin/pharos", "binary of Pharos")
	flag.StringVar(&o.prism, "prism", ".cache/bin/prism", "binary of Prism")
	flag.StringVar(&o.goload, "goload", ".cache/bin/goload", "binary of bench/goload; built first where it is this one")
	flag.StringVar(&o.write, "write", "", "file whose table is replaced; empty for none")
	flag.IntVar(&o.jobs, "jobs", 100, "jobs at the same time")
	flag.IntVar(&o.repeats, "repeats", 3, "runs of each load on each runner")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "jobs:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	goload, err := load.Build(ctx, o.goload, runLimit)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| %d jobs at once | runner | p50 | p99 | all done after | CPU of the runner | memory |\n|---|---|---:|---:|---:|---:|---:|\n", o.jobs)
	for _, w := range workloads {
		samples := map[string][]load.Sample{}
		failed := map[string]string{}
		for i := range o.repeats {
			runners := []string{"Pharos", "Prism"}
			if i%2 == 1 {
				slices.Reverse(runners)
			}
			for _, name := range runners {
				binary := map[string]string{"Pharos": o.pharos, "Prism": o.prism}[name]
				s, err := goload.Run(ctx, binary, w.name, w.n, []string{"--jobs", strconv.Itoa(o.jobs), "--keys", "100"})
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					failed[name] = err.Error()
					fmt.Fprintf(os.Stderr, "%s on %s: %v\n", w.name, name, err)
					continue
				}
				samples[name] = append(samples[name], s)
			}
		}
		for _, name := range []string{"Pharos", "Prism"} {
			b.WriteString(row(w.about, name, samples[name], failed[name]))
		}
	}
	fmt.Print(b.String())
	if o.write == "" {
		return nil
	}
	return table.Replace(o.write, b.String())
}

// row shows the median of the repeats of each figure.
func row(about, runner string, samples []load.Sample, failed string) string {
	if failed != "" {
		return fmt.Sprintf("| %s | %s | failed: %s | | | | |\n", about, runner, firstLine(failed))
	}
	median := func(of func(load.Sample) float64) float64 {
		var list []float64
		for _, s := range samples {
			list = append(list, of(s))
		}
		return load.Median(list)
	}
	return fmt.Sprintf("| %s | %s | %.2f s | %.2f s | %.2f s | %.1f s | %.0f MiB |\n", about, runner,
		median(func(s load.Sample) float64 { return quantile(s.Each, 0.5) }),
		median(func(s load.Sample) float64 { return quantile(s.Each, 0.99) }),
		median(func(s load.Sample) float64 { return s.Seconds }),
		median(func(s load.Sample) float64 { return s.CPU }),
		median(func(s load.Sample) float64 { return float64(s.Memory) / (1 << 20) }))
}

// quantile is the smallest value that a share q of the list does not exceed.
func quantile(list []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line[:min(len(line), 120)]
}
