package job

import (
	"sync/atomic"
	"time"
)

// clock is the processing time of jobs: that of the machine, but it never goes
// back and never stands still. If the machine's clock is set back, it goes on at
// the pace of time from where it was; else all that waits would wait for as long
// as the clock was set back. If the machine's is set forward, or the machine has
// slept, it follows.
type clock struct {
	wall   func() time.Time // with what it is to be off by
	begun  time.Time
	steady func() time.Duration // since begun, whatever the wall's clock says
	ahead  atomic.Int64         // ns by which it is ahead of begun + steady
}

// newClock returns a clock that is off by offset, which tests want.
func newClock(offset time.Duration) *clock {
	begun := time.Now()
	return &clock{
		wall:   func() time.Time { return time.Now().Round(0).Add(offset) }, // without its steady part
		begun:  begun.Round(0).Add(offset),
		steady: func() time.Duration { return time.Since(begun) },
	}
}

// now returns the time in Unix ms.
func (c *clock) now() int64 {
	steady := c.steady()
	for {
		ahead := c.ahead.Load()
		want := int64(c.wall().Sub(c.begun) - steady)
		if want <= ahead || c.ahead.CompareAndSwap(ahead, want) {
			return c.begun.Add(steady + time.Duration(max(ahead, want))).UnixMilli()
		}
	}
}

// until returns how long it is from now to a time, Unix ms.
func (c *clock) until(ms int64) time.Duration {
	return time.Duration(min(ms-c.now(), int64(maxWait/time.Millisecond))) * time.Millisecond
}

// maxWait bounds a wait, after which the clock is looked at again.
const maxWait = time.Hour

// wallNow is the machine's time in Unix ms, which is also the workers'.
func wallNow() int64 { return time.Now().UnixMilli() }
