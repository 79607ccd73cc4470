package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/pharos-beam/pharos/bench/load"
)

// table is where the figures live in the document.
var table = load.Table{Begin: "<!-- large: written by make bench-large -->", End: "<!-- end of large -->"}

// text is all that was measured, as Markdown.
func (b *bench) text() string {
	var t strings.Builder
	if len(b.rows) > 0 {
		fmt.Fprintf(&t, "`--memory %dMiB`, %d CPUs, %s. MB/s are of the elements' encodings; CPU is that of the runner's process (of sort's), without the worker.\n\n",
			b.o.memory, runtime.NumCPU(), runtime.Version())
		t.WriteString("| load | elements | bytes | Pharos | peak memory, of the budget | GNU sort, as many bytes | Prism, at a size | what it is |\n")
		t.WriteString("|---|---:|---:|---:|---:|---:|---:|---|\n")
		for _, r := range b.rows {
			t.WriteString(r.line(b.o.memory << 20))
		}
	}
	if len(b.memory) > 0 {
		fmt.Fprintf(&t, "\nA stream of %s elements, %d runs in turn, medians: %.1f s in memory (peak %d MB), %.1f s with `--data` (peak %d MB): **%.2f** of the throughput.\n",
			load.Thousands(int64(streamElements*b.o.scale)), b.o.repeats, median(b.memory), peak(b.memory)/1e6, median(b.durable), peak(b.durable)/1e6, b.ratio())
	}
	return t.String()
}

func (r *row) line(budget int64) string {
	sorted, prism := "–", "–"
	if r.sorted != nil {
		sorted = r.rate(r.n, *r.sorted) + fmt.Sprintf(", %d MB", r.sorted.Memory/1e6)
	}
	switch {
	case r.prismErr != nil:
		prism = fmt.Sprintf("failed at %s elements", load.Thousands(r.prismSize))
	case r.prismSize > 0:
		prism = fmt.Sprintf("%s; %s elements, %d MB", r.rate(r.prismSize, r.prism), load.Thousands(r.prismSize), r.prism.Memory/1e6)
	}
	return fmt.Sprintf("| %s | %s | %.2f GB | %s | %d MB, **%.2f** | %s | %s | %s |\n", r.name, load.Thousands(r.n), float64(r.n*r.size)/1e9,
		r.rate(r.n, r.pharos), r.pharos.Memory/1e6, float64(r.pharos.Memory)/float64(budget), sorted, prism, r.about)
}

// rate gives time and throughput for n elements.
func (r *row) rate(n int64, s load.Sample) string {
	return fmt.Sprintf("%.1f s, %.0f MB/s, CPU %.1f s", s.Seconds, float64(n*r.size)/1e6/s.Seconds, s.CPU)
}
