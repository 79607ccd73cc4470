package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	r := row{
		load:   load{name: "gbk", n: 1_000_000, about: "grouping"},
		pharos: []sample{{1, 2e6}, {3, 4e6}, {2, 3e6}},
		prism:  []sample{{4, 9e6}, {8, 9e6}, {6, 9e6}},
	}
	want := "| gbk | 1,000,000 | 2.00 s, 500,000/s | 6.00 s, 166,666/s | **3.00** | 1.33–8.00 | 3 MB / 9 MB | grouping |\n"
	if got := r.line(); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	r.prism, r.prismFailed = nil, "hung"
	if got := r.line(); !strings.Contains(got, "| failed | – | – |") {
		t.Errorf("a failed peer reads %s", got)
	}
}

func TestReplaceTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("a\n"+tableBegin+"\nold\n"+tableEnd+"\nb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"new\n", "newer\n"} {
		if err := replaceTable(path, table); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if want := "a\n" + tableBegin + "\n" + table + tableEnd + "\nb\n"; err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}
