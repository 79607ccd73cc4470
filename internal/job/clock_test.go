package job

import (
	"testing"
	"time"
)

// The clock follows the machine's forward, and goes on by itself when that is
// set back.
func TestClock(t *testing.T) {
	begun := time.UnixMilli(1_000_000)
	var wall, steady time.Duration
	c := &clock{wall: func() time.Time { return begun.Add(wall) }, begun: begun, steady: func() time.Duration { return steady }}
	for i, x := range []struct{ wall, steady, want time.Duration }{
		{0, 0, 0},
		{time.Second, time.Second, time.Second},
		{time.Hour, 2 * time.Second, time.Hour},                     // set forward
		{3 * time.Second, 3 * time.Second, time.Hour + time.Second}, // set right again
		{-time.Hour, 5 * time.Second, time.Hour + 3*time.Second},
		{2 * time.Hour, 6 * time.Second, 2 * time.Hour}, // it has slept
	} {
		wall, steady = x.wall, x.steady
		if got := c.now() - begun.UnixMilli(); got != x.want.Milliseconds() {
			t.Errorf("reading %d: %d ms, want %d", i, got, x.want.Milliseconds())
		}
	}
	if d := c.until(begun.Add(2*time.Hour + time.Minute).UnixMilli()); d != time.Minute {
		t.Errorf("a minute is %v", d)
	}
	if d := c.until(1 << 62); d != maxWait {
		t.Errorf("for ever is %v", d)
	}
}
