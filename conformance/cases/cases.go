// Package cases holds what is known of a conformance kit's cases: results, baselines, tags and causes, all of them
// tables of tab-separated lines sorted by test, so that a change shows in a diff.
package cases

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Outcomes of a case.
const (
	Pass = "pass"
	Fail = "fail"
	Skip = "skip"
)

// reasonLimit is the length of a reason in bytes: enough to recognise a failure by.
const reasonLimit = 200

// Case is the outcome of one test.
type Case struct {
	Test   string
	Status string // Pass, Fail or Skip
	Reason string // why it failed or was skipped; one line
}

// Results are the outcomes of a kit's tests, sorted by test, each test once.
type Results []Case

// New sorts the cases. Tests of the same name are told apart by a number, in the order in which they come.
func New(list []Case) Results {
	seen := map[string]int{}
	r := make(Results, 0, len(list))
	for _, c := range list {
		c.Test = oneLine(c.Test)
		seen[c.Test]++
		if n := seen[c.Test]; n > 1 {
			c.Test = fmt.Sprintf("%s (%d)", c.Test, n)
		}
		c.Reason = cut(oneLine(c.Reason))
		if c.Status == Pass {
			c.Reason = ""
		}
		r = append(r, c)
	}
	slices.SortFunc(r, func(a, b Case) int { return strings.Compare(a.Test, b.Test) })
	return r
}

// oneLine replaces what would break a table's row.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func cut(s string) string {
	if len(s) <= reasonLimit {
		return s
	}
	return strings.ToValidUTF8(s[:reasonLimit], "") + "…"
}

// Read reads results; a file that does not exist holds none.
func Read(path string) (Results, error) {
	rows, err := ReadTable(path, 2)
	var r Results
	for _, row := range rows {
		r = append(r, Case{Test: row[0], Status: row[1], Reason: strings.Join(row[2:], " ")})
	}
	return r, err
}

// Write writes results.
func (r Results) Write(path string) error {
	var b strings.Builder
	for _, c := range r {
		fmt.Fprintf(&b, "%s\t%s\t%s\n", c.Test, c.Status, c.Reason)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// Get returns the outcome of a test.
func (r Results) Get(test string) (Case, bool) {
	i, ok := slices.BinarySearchFunc(r, test, func(c Case, t string) int { return strings.Compare(c.Test, t) })
	if !ok {
		return Case{}, false
	}
	return r[i], true
}

// With returns r with the outcomes in other put in place of its own.
func (r Results) With(other Results) Results {
	merged := slices.Clone(other)
	for _, c := range r {
		if _, ok := other.Get(c.Test); !ok {
			merged = append(merged, c)
		}
	}
	slices.SortFunc(merged, func(a, b Case) int { return strings.Compare(a.Test, b.Test) })
	return merged
}

// Count counts the outcomes.
func (r Results) Count() (n Counts) {
	for _, c := range r {
		switch c.Status {
		case Pass:
			n.Passed++
		case Skip:
			n.Skipped++
		default:
			n.Failed++
		}
	}
	return n
}

// Counts are numbers of outcomes.
type Counts struct{ Passed, Failed, Skipped int }

func (n Counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", n.Passed, n.Failed, n.Skipped)
}

// Regressions returns the tests that passed in the baseline and, being selected, do not pass in r; one that is
// missing in r counts.
func (r Results) Regressions(baseline Results, selected func(test string) bool) (lost []Case) {
	for _, b := range baseline {
		if b.Status != Pass || !selected(b.Test) {
			continue
		}
		c, ok := r.Get(b.Test)
		if !ok {
			c = Case{Test: b.Test, Status: "missing"}
		}
		if c.Status != Pass {
			lost = append(lost, c)
		}
	}
	return lost
}

// Improvements returns the cases that pass and that the baseline does not know as passing.
func (r Results) Improvements(baseline Results) (won []Case) {
	for _, c := range r {
		if b, _ := baseline.Get(c.Test); c.Status == Pass && b.Status != Pass {
			won = append(won, c)
		}
	}
	return won
}

// ReadTable reads rows of at least so many tab-separated fields. Empty lines and lines that begin with # are left
// out; a file that does not exist holds none.
func ReadTable(path string, fields int) (rows [][]string, err error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(string(b), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(line, "\t")
		if len(row) < fields {
			return nil, fmt.Errorf("%s:%d: %d fields, want %d at least", path, i+1, len(row), fields)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// ReadMap reads a table of test and value.
func ReadMap(path string) (map[string]string, error) {
	rows, err := ReadTable(path, 2)
	m := make(map[string]string, len(rows))
	for _, row := range rows {
		m[row[0]] = row[1]
	}
	return m, err
}
