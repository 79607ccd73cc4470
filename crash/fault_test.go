package main

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pharos-beam/pharos/internal/failpoint"
)

// A failpoint that is not reached is chosen more often than others, but not only.
func TestFailpointsAreAllReached(t *testing.T) {
	deaths, chosen := map[string]int{}, map[string]int{}
	f := newFailpoints(rand.New(rand.NewPCG(1, 2)), func(name string) int { return deaths[name] })
	n := len(runningPoints)
	for i := range 10 * n {
		name, _, _ := strings.Cut(f.any(), ":")
		chosen[name]++
		if name != string(failpoint.BlocksSync) {
			deaths[name]++
		}
		if i == n-1 && len(chosen) != n {
			t.Fatalf("%d failpoints are chosen first, want all %d", len(chosen), n)
		}
	}
	for _, name := range runningPoints {
		if c, often := chosen[string(name)], name == failpoint.BlocksSync; c < 5 || often != (c > 20) {
			t.Errorf("%s is chosen %d times", name, c)
		}
	}
}
