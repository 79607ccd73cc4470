package job

import (
	"context"
	"sync/atomic"
	"testing"
)

func TestTurns(t *testing.T) {
	const limit, callers = 2, 50
	line := newTurns(limit)
	var inside, most atomic.Int64
	done := make(chan struct{})
	for range callers {
		go func() {
			defer func() { done <- struct{}{} }()
			leave, err := line.enter(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			inside.Add(-1)
			leave()
		}()
	}
	for range callers {
		<-done
	}
	if most.Load() > limit {
		t.Errorf("%d at a time, the limit is %d", most.Load(), limit)
	}
	for range limit {
		if _, err := line.enter(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := line.enter(ctx); err == nil {
		t.Error("a caller that is cancelled has got a turn that there was not")
	}
	if leave, err := turns(nil).enter(ctx); err != nil {
		t.Error(err)
	} else {
		leave()
	}
}
