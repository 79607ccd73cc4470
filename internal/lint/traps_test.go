package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTrapsHaveTests checks that each row of docs/traps.md names tests, and that
// they exist.
func TestTrapsHaveTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/traps.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "trap" {
			continue
		}
		rows++
		tests := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[3], -1)
		if len(tests) == 0 {
			t.Errorf("no test for: %s", cells[1])
		}
		for _, m := range tests {
			if why := missing(m[1]); why != "" {
				t.Errorf("%s: %s", m[1], why)
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d rows; has the table changed its form?", rows)
	}
}

// missing says why there is no test of a name as docs/traps.md explains it;
// nothing if there is.
func missing(name string) string {
	if kit, id, ok := strings.Cut(name, ": "); ok {
		return missingFromKit(kit, id)
	}
	pkg, test, _ := strings.Cut(name, " ")
	test, part, _ := strings.Cut(test, "/")
	files, _ := filepath.Glob("../../" + pkg + "/*_test.go")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(text), "func "+test+"(") {
			continue
		}
		_, err = os.Stat(filepath.Join("../..", pkg, "testdata", part+".txt"))
		if part == "" || err == nil || strings.Contains(string(text), `"`+part+`"`) {
			return ""
		}
		return "it has no such case"
	}
	return "there is no such test"
}

func missingFromKit(kit, id string) string {
	text, err := os.ReadFile("../../conformance/baseline/" + kit + ".tsv")
	if err != nil {
		return err.Error()
	}
	passes := slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return strings.HasPrefix(line, id+"\tpass")
	})
	if !passes {
		return "it does not pass in the baseline"
	}
	return ""
}
