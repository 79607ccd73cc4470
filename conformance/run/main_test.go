package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestReadSlice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.txt")
	if err := os.WriteFile(path, []byte("# comment\n^a\n!slow$\nz\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	in, err := readSlice(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, test := range []string{"a", "aslow", "b", "xz"} {
		if in(test) {
			got = append(got, test)
		}
	}
	if want := []string{"a", "xz"}; !slices.Equal(got, want) {
		t.Errorf("the slice holds %q, want %q", got, want)
	}
	if _, err := readSlice(path + "x"); err == nil {
		t.Error("a slice that does not exist gives no error")
	}
}

func TestResultsLeaveOutWhatNeedsNoRunner(t *testing.T) {
	got := results([]test{{Test: "b", Status: "timeout", Reason: "60 s"}, {Test: "a", Status: "norunner"}, {Test: "c", Status: "pass"}})
	if len(got) != 2 || got[0].Status != "fail" || got[0].Reason != "timeout: 60 s" || got[1].Test != "c" {
		t.Errorf("results are %v", got)
	}
}
