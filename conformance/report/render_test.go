package main

import (
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/conformance/cases"
)

func TestRender(t *testing.T) {
	all := []kit{{
		name: "java", title: "Java", about: "tests",
		results: cases.New([]cases.Case{
			{Test: "a/b#ok", Status: cases.Pass}, {Test: "a/b#known[1]", Status: cases.Fail, Reason: "x"},
			{Test: "a/b#odd", Status: cases.Fail, Reason: "y | <z>"}, {Test: "late", Status: cases.Fail}, {Test: "out", Status: cases.Skip, Reason: "r"},
		}),
		tags:  map[string]string{"late": "streaming"},
		peers: []peer{{"prism", cases.New([]cases.Case{{Test: "late", Status: cases.Pass}})}},
	}}
	known := causes{{"java", "a/*known[1]", "the client"}, {"go", "*", "not this kit"}}
	doc, unexplained := render(all, known)
	for _, want := range []string{
		"| Java | **Pharos** | 1 / 2 / 1 | 0 / 1 / 0 | 1 / 3 / 1 |\n",
		"| Java | prism | 0 / 0 / 0 | 1 / 0 / 0 | 1 / 0 / 0 |\n",
		"| `a/b#known[1]` | fail | the client |\n",
		"| `a/b#odd` | fail | **not known yet**: y \\| &lt;z> |\n",
		"| `out` | skip | left out by the test: r |\n",
	} {
		if !strings.Contains(doc, want) {
			t.Errorf("the document lacks %q:\n%s", want, doc)
		}
	}
	if len(unexplained) != 1 || unexplained[0] != "java: a/b#odd" {
		t.Errorf("unexplained: %q", unexplained)
	}
}
