package main

import (
	"strings"
	"testing"
	"time"
)

func TestReportCountsMultisets(t *testing.T) {
	r := newReport(config{})
	r.compare("job", []string{"a", "b", "b", "x"}, []string{"a", "a", "b", "c"})
	if r.duplicates != 2 || r.losses != 2 {
		t.Errorf("%d duplicates and %d losses, want 2 and 2: %v", r.duplicates, r.losses, r.examples)
	}
	if r.verdict() == nil {
		t.Error("that is no error")
	}
}

func TestCommitsAreReadFromTheLog(t *testing.T) {
	c, ok := parseCommit(`time=2026-01-01T00:00:00Z level=DEBUG msg=commit job=x records=3 bytes=1234 took=5.5ms`)
	if !ok || c.bytes != 1234 || c.took != 5500*time.Microsecond {
		t.Errorf("%+v, %v", c, ok)
	}
	if _, ok := parseCommit(`level=INFO msg="job starts" job=x`); ok {
		t.Error("another line is a commit")
	}
}

// Every id is in one window and in one session, whatever the seed.
func TestOracleCountsEveryIDOnce(t *testing.T) {
	const ids = 2000
	for seed := range uint64(5) {
		in := map[string]int{}
		for _, line := range streamLines(ids, seed) {
			f := strings.Split(line, "|")
			switch f[0] {
			case "window":
				in["window"] += number(t, f[3])
			case "session":
				in["session"] += number(t, f[4])
			default:
				in[f[0]]++
			}
		}
		for _, kind := range []string{"window", "session", "id", "total"} {
			if in[kind] != ids {
				t.Errorf("seed %d: %d ids are in lines of the kind %s, not %d", seed, in[kind], kind, ids)
			}
		}
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n := 0
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}
