package main

import (
	"strings"
	"testing"
)

func TestReasonOf(t *testing.T) {
	for _, c := range []struct{ name, out, want string }{
		{
			"innermost cause without its stack",
			"    a_test.go:47: Failed to execute job: job x failed:\n  while executing\n  caused by:\n  source failed\n  caused by:\n" +
				"  panic: got -1, want 42 goroutine 109 [running]:\n  runtime/debug.Stack()\n\t/src/stack.go:26 +0x5e\nFAIL",
			"panic: got -1, want 42",
		},
		{"no job failed", "=== RUN x\n    a_test.go:1: got 1, want 2\nother", "a_test.go:1: got 1, want 2"},
		{"a panic wins", "    a_test.go:1: want\npanic: nil map", "panic: nil map"},
	} {
		if got := reasonOf(strings.Split(c.out, "\n")); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSelectFrom(t *testing.T) {
	p := pkg{path: "pkg/beam"}
	for _, c := range []struct {
		ids   []string
		found bool
		want  string
	}{
		{[]string{"pkg/beam.TestA"}, true, "^TestA$"},
		{[]string{"pkg/beam.TestA/x y", "pkg/beam.TestA/b/c"}, true, "^TestA$/^(x y|b)$"},
		{[]string{"pkg/beam.TestAB", "pkg/beam/io.TestA"}, false, "^TestA$"},
	} {
		x := top{pkg: p, name: "TestA"}
		if found := x.selectFrom(c.ids); found != c.found || x.pattern() != c.want {
			t.Errorf("%q: found %v, pattern %s, want %v, %s", c.ids, found, x.pattern(), c.found, c.want)
		}
	}
}
