// Command large measures data that is larger than the runner's memory, and streams with and without a data directory.
//
//	go run ./bench/large [--memory 256] [--loads hot,sidescan] [--write docs/performance.md]
//
// Each load is run on a Pharos of its own with that budget, and where there is something to compare with also by GNU sort
// with a buffer of the same size, on as many bytes, and on Prism, at a size that Prism survives. The peak of the runner's
// resident memory is to stay below the budget and a fifth; with --check, the program fails if it does not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pharos-beam/pharos/bench/load"
)

// runLimit ends a run that hangs.
const runLimit = 30 * time.Minute

// slack is how much more than the budget the process may have in memory at its peak.
const slack = 1.2

type options struct {
	pharos, prism, goload, loads, write string
	memory                              int64 // MiB
	scale                               float64
	repeats                             int
	check                               bool
}

// workload is a pipeline of bench/goload that is larger than the budget.
type workload struct {
	name  string
	of    float64 // bytes of data, in budgets; 0: n says it
	n     int64
	size  int64 // bytes of an element
	args  []string
	sort  bool // GNU sort can do the same
	prism int64
	about string
}

var workloads = []workload{
	{name: "hot", of: 10, size: 1000, args: []string{"--size", "1000", "--keys", "100000"}, sort: true, prism: 20,
		about: "GroupByKey of ten times the budget; a sixth of the values are one key's"},
	{name: "distinct", n: 10_000_000, size: distinctLine, sort: true, prism: 20, about: "CombinePerKey over distinct keys"},
	{name: "sidescan", of: 2, size: 1000, args: []string{"--size", "1000", "--keys", "1000"}, prism: 20,
		about: "a side input of twice the budget, read from beginning to end by two elements"},
	{name: "sidelookup", of: 2, size: 1000, args: []string{"--size", "1000"}, prism: 20,
		about: "a side input of twice the budget, in which a tenth of its keys are looked up"},
}

func main() {
	var o options
	flag.StringVar(&o.pharos, "pharos", "bin/pharos", "binary of Pharos")
	flag.StringVar(&o.prism, "prism", ".cache/bin/prism", "binary of Prism; empty for none")
	flag.StringVar(&o.goload, "goload", ".cache/bin/goload", "binary of bench/goload; built first where it is this one")
	flag.StringVar(&o.loads, "loads", "", "only these, comma-separated; \"stream\" is the streams")
	flag.StringVar(&o.write, "write", "docs/performance.md", "file whose tables are replaced; empty for none")
	flag.Int64Var(&o.memory, "memory", 256, "the budget, in MiB")
	flag.Float64Var(&o.scale, "scale", 1, "factor on the size of all loads")
	flag.IntVar(&o.repeats, "repeats", 3, "runs of the streams")
	flag.BoolVar(&o.check, "check", false, "fail if a run needs more memory than it may, or if the durable stream is too slow")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "large:", err)
		os.Exit(1)
	}
}

func (o *options) wants(name string) bool {
	return o.loads == "" || slices.Contains(strings.Split(o.loads, ","), name)
}

// command is that of a Pharos with the budget.
func (o *options) command(flags string) string {
	return fmt.Sprintf("%s serve --port {port} --http-port 0 --memory %dMiB %s", o.pharos, o.memory, flags)
}

func run(ctx context.Context, o options) error {
	goload, err := load.Build(ctx, o.goload, runLimit)
	if err != nil {
		return err
	}
	b := &bench{o: o, goload: goload}
	if err := b.large(ctx); err != nil {
		return err
	}
	if err := b.streams(ctx); err != nil {
		return err
	}
	fmt.Print(b.text())
	if err := errors.Join(b.failures...); o.check && err != nil {
		return err
	}
	if o.write == "" {
		return nil
	}
	return table.Replace(o.write, b.text())
}

// bench is what has been measured.
type bench struct {
	o        options
	goload   *load.Goload
	rows     []row
	memory   []load.Sample // of the stream
	durable  []load.Sample
	failures []error
}

// row is what one load gave.
type row struct {
	workload
	pharos    load.Sample
	sorted    *load.Sample // nil if sort cannot do that
	prism     load.Sample
	prismErr  error
	prismSize int64
}

// elements is the size of the load.
func (b *bench) elements(w workload) int64 {
	n := float64(w.n)
	if w.of > 0 {
		n = w.of * float64(b.o.memory<<20) / float64(w.size)
	}
	return int64(n * b.o.scale)
}

// fits checks that a run has kept to the budget.
func (b *bench) fits(name string, s load.Sample) {
	if most := int64(slack * float64(b.o.memory<<20)); s.Memory > most {
		b.failures = append(b.failures, fmt.Errorf("%s: %d bytes of memory at the peak, more than %d", name, s.Memory, most))
	}
}

// large runs the loads that are larger than memory.
func (b *bench) large(ctx context.Context) error {
	for _, w := range workloads {
		if !b.o.wants(w.name) {
			continue
		}
		r := row{workload: w}
		r.n = b.elements(w)
		var err error
		fmt.Fprintf(os.Stderr, "%s, %d elements", w.name, r.n)
		if r.pharos, err = b.goload.Run(ctx, b.o.command(""), w.name, r.n, w.args); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		fmt.Fprintf(os.Stderr, ": %.1f s, %d MB", r.pharos.Seconds, r.pharos.Memory/1e6)
		b.fits(w.name, r.pharos)
		if w.sort {
			s, err := b.sort(ctx, r.workload)
			if err != nil {
				return fmt.Errorf("sort for %s: %w", w.name, err)
			}
			r.sorted = &s
			fmt.Fprintf(os.Stderr, "; sort %.1f s", s.Seconds)
		}
		if b.o.prism != "" {
			r.prismSize = r.n / w.prism
			r.prism, r.prismErr = b.goload.Run(ctx, b.o.prism, w.name, r.prismSize, w.args)
			fmt.Fprintf(os.Stderr, "; prism %.1f s %v", r.prism.Seconds, r.prismErr)
		}
		fmt.Fprintln(os.Stderr)
		b.rows = append(b.rows, r)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
