package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/pharos-beam/pharos/bench/load"
)

// table is where the figures live in the document.
var table = load.Table{Begin: "<!-- table: written by make bench -->", End: "<!-- end of table -->"}

// render writes the rows as a Markdown table. A ratio above 1 says that Pharos is faster.
func render(rows []row, repeats int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d repeats, interleaved; medians; %d CPUs, %s.\n\n", repeats, runtime.NumCPU(), runtime.Version())
	b.WriteString("| load | elements | Pharos | Prism | ratio | lowest to highest | peak memory, Pharos / Prism | what it is |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|---|\n")
	for _, r := range rows {
		b.WriteString(r.line())
	}
	return b.String()
}

func (r row) line() string {
	pharos, prism := seconds(r.pharos), seconds(r.prism)
	ratio, span := "–", "–"
	if len(pharos) > 0 && len(prism) > 0 {
		ratio = fmt.Sprintf("**%.2f**", load.Median(prism)/load.Median(pharos))
		span = fmt.Sprintf("%.2f–%.2f", slices.Min(prism)/slices.Max(pharos), slices.Max(prism)/slices.Min(pharos))
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s / %s | %s |\n", r.load.name, load.Thousands(r.load.n),
		r.figure(pharos, r.pharosFailed), r.figure(prism, r.prismFailed), ratio, span,
		megabytes(r.pharos), megabytes(r.prism), r.load.about)
}

// figure gives time and throughput.
func (r row) figure(secs []float64, failed string) string {
	if failed != "" {
		return "failed"
	}
	if len(secs) == 0 {
		return "–"
	}
	m := load.Median(secs)
	if r.load.n < 1000 {
		return fmt.Sprintf("%.3f s", m)
	}
	return fmt.Sprintf("%.2f s, %s/s", m, load.Thousands(int64(float64(r.load.n)/m)))
}

func seconds(samples []load.Sample) (list []float64) {
	for _, s := range samples {
		list = append(list, s.Seconds)
	}
	return list
}

func megabytes(samples []load.Sample) string {
	var list []float64
	for _, s := range samples {
		list = append(list, float64(s.Memory))
	}
	if len(list) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f MB", load.Median(list)/1e6)
}
