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

func TestEachKitHasOurRunner(t *testing.T) {
	for kit, want := range map[string]string{"java": "TestPharosRunner", "python": "pharos_beam.PharosRunner", "go": "pharos"} {
		if got := (options{kit: kit, runner: "pharos"}).sdkRunner(); got != want {
			t.Errorf("%s: pharos is %q, want %q", kit, got, want)
		}
	}
	if got := (options{kit: "python", runner: "FlinkRunner"}).sdkRunner(); got != "FlinkRunner" {
		t.Errorf("another runner is %q", got)
	}
	if got := (options{kit: "go"}).sdkRunner(); got != "" {
		t.Errorf("without the flag the runner is %q, not the kit's own", got)
	}
}
