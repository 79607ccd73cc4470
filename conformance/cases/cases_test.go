package cases

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestNewNormalises(t *testing.T) {
	r := New([]Case{{"b", Fail, "one\n\ttwo"}, {"a  x", Pass, "dropped"}, {"b", Skip, ""}})
	want := Results{{"a x", Pass, ""}, {"b", Fail, "one two"}, {"b (2)", Skip, ""}}
	if !slices.Equal(r, want) {
		t.Errorf("got %v, want %v", r, want)
	}
}

func TestWriteThenRead(t *testing.T) {
	r := New([]Case{{"b", Fail, "why"}, {"a", Pass, ""}})
	path := filepath.Join(t.TempDir(), "r.tsv")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil || !slices.Equal(got, r) {
		t.Errorf("got %v, %v, want %v", got, err, r)
	}
	if n := got.Count(); n != (Counts{Passed: 1, Failed: 1}) {
		t.Errorf("counts are %v", n)
	}
}

func TestRegressions(t *testing.T) {
	baseline := New([]Case{{"kept", Pass, ""}, {"lost", Pass, ""}, {"gone", Pass, ""}, {"other", Pass, ""}, {"known", Fail, ""}})
	now := New([]Case{{"kept", Pass, ""}, {"lost", Skip, "hm"}, {"known", Fail, ""}, {"new", Pass, ""}})
	lost := now.Regressions(baseline, func(test string) bool { return test != "other" })
	want := []Case{{"gone", "missing", ""}, {"lost", Skip, "hm"}}
	if !slices.Equal(lost, want) {
		t.Errorf("regressions are %v, want %v", lost, want)
	}
	if won := now.Improvements(baseline); !slices.Equal(won, []Case{{"new", Pass, ""}}) {
		t.Errorf("improvements are %v", won)
	}
}

func TestWithReplaces(t *testing.T) {
	r := New([]Case{{"a", Fail, ""}, {"b", Pass, ""}}).With(New([]Case{{"a", Pass, ""}, {"c", Skip, ""}}))
	want := Results{{"a", Pass, ""}, {"b", Pass, ""}, {"c", Skip, ""}}
	if !slices.Equal(r, want) {
		t.Errorf("got %v, want %v", r, want)
	}
}
