package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
)

// The table lives between these lines of the document.
const (
	tableBegin = "<!-- table: written by make bench -->"
	tableEnd   = "<!-- end of table -->"
)

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
		ratio = fmt.Sprintf("**%.2f**", median(prism)/median(pharos))
		span = fmt.Sprintf("%.2f–%.2f", slices.Min(prism)/slices.Max(pharos), slices.Max(prism)/slices.Min(pharos))
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s / %s | %s |\n", r.load.name, thousands(r.load.n),
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
	m := median(secs)
	if r.load.n < 1000 {
		return fmt.Sprintf("%.3f s", m)
	}
	return fmt.Sprintf("%.2f s, %s/s", m, thousands(int64(float64(r.load.n)/m)))
}

func seconds(samples []sample) (list []float64) {
	for _, s := range samples {
		list = append(list, s.seconds)
	}
	return list
}

func megabytes(samples []sample) string {
	var list []float64
	for _, s := range samples {
		list = append(list, float64(s.memory))
	}
	if len(list) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f MB", median(list)/1e6)
}

// median of a list that is not empty.
func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	mid := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[mid-1] + sorted[mid]) / 2
	}
	return sorted[mid]
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// replaceTable puts the table into the document, between its markers.
func replaceTable(path, table string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	doc := string(b)
	before, rest, ok := strings.Cut(doc, tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no markers %q and %q", path, tableBegin, tableEnd)
	}
	return os.WriteFile(path, []byte(before+tableBegin+"\n"+table+tableEnd+after), 0o644)
}
