package load

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Median of a list that is not empty.
func Median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	mid := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[mid-1] + sorted[mid]) / 2
	}
	return sorted[mid]
}

// Thousands writes 1234567 as 1,234,567.
func Thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Table is where a document has what a program writes: between two lines.
type Table struct{ Begin, End string }

// Replace puts text into the document, between the lines.
func (t Table) Replace(path, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), t.Begin)
	_, after, ok2 := strings.Cut(rest, t.End)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no markers %q and %q", path, t.Begin, t.End)
	}
	return os.WriteFile(path, []byte(before+t.Begin+"\n"+text+t.End+after), 0o644)
}
