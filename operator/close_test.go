package operator

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
)

// holdUntil answers nothing until the channel is closed.
func holdUntil(open <-chan struct{}) func(*fakesdk.Bundle) error {
	return func(b *fakesdk.Bundle) error {
		return each(b, func(v string) (string, error) {
			select {
			case <-open:
			case <-b.Worker().Ended():
				return "", errors.New("ended")
			}
			return upper(v)
		})
	}
}

// shortly is a context that ends by itself, after others had time to wait.
func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// A call that waits for room does not keep others from giving up, nor from going
// on when there is room again.
func TestWaitingCallsKeepToTheirContext(t *testing.T) {
	for _, f := range []Function{streaming, {URN: "test:upper"}, stateful} {
		open := make(chan struct{})
		op, ctx := openFake(t, f, Limits{InFlight: 2}, 1, holdUntil(open))
		for i := range 2 {
			if err := op.Send(ctx, batchOf(i, "x")); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		waiting := make(chan struct{})
		wg.Go(func() { // one that waits for long
			close(waiting)
			if err := op.Send(ctx, batchOf(2, "x")); err != nil {
				t.Error(err)
			}
		})
		<-waiting
		var givingUp sync.WaitGroup
		for name, call := range map[string]func(context.Context) error{
			"Send":       func(ctx context.Context) error { return op.Send(ctx, batchOf("given up", "x")) },
			"Watermark":  func(ctx context.Context) error { return op.Watermark(ctx, 1) },
			"Call":       func(ctx context.Context) error { _, err := op.Call(ctx, batchOf(nil, "x")); return err },
			"Receive":    func(ctx context.Context) error { _, err := op.Receive(ctx); return err },
			"Checkpoint": op.Checkpoint,
			"Flush":      op.Flush,
		} {
			for range 3 { // at the same time
				givingUp.Go(func() {
					if err := call(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
		}
		givingUp.Wait()
		close(open)
		for i := range 3 { // what was given up was not sent at all
			r, err := op.Receive(ctx)
			if err != nil || r.Err != nil || r.Batch.Tag != i || !slices.Equal(elements(r.Data), []string{"X"}) {
				t.Fatal(i, err, r)
			}
		}
		wg.Wait()
		if err := op.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := op.Receive(shortly(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("there is another result:", err)
		}
	}
}

// A batch that is given up is answered once or not at all, whenever that happens.
func TestSendIsWholeOrNothing(t *testing.T) {
	op, ctx := openFake(t, streaming, Limits{InFlight: 1}, 1, echoUpper)
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent := map[any]bool{}
	for sender := range 4 {
		wg.Go(func() {
			for i := range 100 {
				short, cancel := context.WithTimeout(ctx, time.Duration(i%7)*100*time.Microsecond)
				tag := sender*1000 + i
				if op.Send(short, batchOf(tag, "x")) == nil {
					mu.Lock()
					sent[tag] = true
					mu.Unlock()
				}
				cancel()
			}
		})
	}
	received := map[any]int{}
	done := make(chan struct{})
	ending, end := context.WithCancel(ctx)
	go func() {
		defer close(done)
		for {
			r, err := op.Receive(ending)
			if err != nil {
				return
			}
			received[r.Batch.Tag]++
		}
	}()
	wg.Wait()
	if err := op.Send(ctx, batchOf("last", "x")); err != nil { // there is room
		t.Fatal(err)
	}
	if err := op.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for { // until all is received
		op.mu.Lock()
		n := op.count
		op.mu.Unlock()
		if n == 0 {
			break
		}
		if err := op.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	end()
	<-done
	sent["last"] = true
	for tag := range sent {
		if received[tag] != 1 {
			t.Errorf("batch %v was received %d times", tag, received[tag])
		}
		delete(received, tag)
	}
	if len(received) > 0 {
		t.Errorf("results of batches that were not sent: %v", received)
	}
}

// Nothing is said to be done by an operator that is closed.
func TestAfterClose(t *testing.T) {
	for _, f := range []Function{streaming, stateful} {
		op, ctx := openFake(t, f, Limits{}, 1, echoUpper)
		if err := op.Send(ctx, batchOf(1, "x")); err != nil {
			t.Fatal(err)
		}
		if err := op.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		op.Close()
		for name, call := range map[string]func() error{
			"Send":           func() error { return op.Send(ctx, batchOf(2, "x")) },
			"Watermark":      func() error { return op.Watermark(ctx, 1) },
			"ProcessingTime": func() error { return op.ProcessingTime(ctx, 1) },
			"Call":           func() error { _, err := op.Call(ctx, batchOf(2, "x")); return err },
			"Checkpoint":     func() error { return op.Checkpoint(ctx) },
		} {
			if err := call(); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := op.Flush(ctx); err != nil {
			t.Error("Flush:", err)
		}
		if r, err := op.Receive(ctx); err != nil || r.Err != nil || r.Batch.Tag != 1 {
			t.Error("what was answered before:", err, r)
		}
		if _, err := op.Receive(ctx); !errors.Is(err, ErrClosed) {
			t.Error("Receive:", err)
		}
	}
}

// A checkpoint that is on its way when the operator is closed fails.
func TestCloseEndsACheckpoint(t *testing.T) {
	for _, f := range []Function{streaming, stateful} {
		arrived := make(chan struct{})
		var once sync.Once
		op, ctx := openFake(t, f, Limits{}, 1, func(b *fakesdk.Bundle) error {
			_, err := b.Next()
			once.Do(func() { close(arrived) })
			<-b.Worker().Ended()
			return err
		})
		if err := op.Send(ctx, batchOf(1, "x")); err != nil {
			t.Fatal(err)
		}
		<-arrived
		got := make(chan error, 1)
		go func() { got <- op.Checkpoint(ctx) }()
		op.Close()
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}

// A batch that is not what it says would have its neighbours' output.
func TestBadBatchesAndLimitsAreRefused(t *testing.T) {
	p, _ := fakePool(t, 1, echoUpper)
	ctx := deadline(t)
	for _, l := range []Limits{{InFlight: -1}, {BundleElements: -1}, {BundleTime: -1}, {Attempts: -1}} {
		if _, err := p.Open(ctx, streaming, l); err == nil {
			t.Errorf("%+v: no error", l)
		}
	}
	if _, err := NewPool(External("x:1"), PoolOptions{Workers: -1}); err == nil {
		t.Error("a pool of -1 workers")
	}
	op, err := p.Open(ctx, streaming, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	two := batchOf(nil, "a", "b").Data
	for _, b := range []Batch{{Data: two}, {Data: two, Elements: 1}, {Data: two, Elements: 3}, {Elements: -1}, {Elements: 1}, {Data: two[:3], Elements: 2}} {
		if err := op.Send(ctx, b); err == nil {
			t.Errorf("%+v was taken", b)
		}
		if _, err := op.Call(ctx, b); err == nil {
			t.Errorf("%+v was taken", b)
		}
	}
	if r, err := op.Call(ctx, Batch{}); err != nil || len(r.Data) > 0 {
		t.Error("an empty batch:", err, r)
	}
}

// Results that nobody receives keep a sender from sending more.
func TestResultsCountAgainstTheLimit(t *testing.T) {
	op, ctx := openFake(t, streaming, Limits{InFlightBytes: 100}, 1, func(b *fakesdk.Bundle) error {
		return each(b, func(string) (string, error) { return string(make([]byte, 1000)), nil })
	})
	if err := op.Send(ctx, batchOf(1, "x")); err != nil {
		t.Fatal(err)
	}
	if err := op.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := op.Send(shortly(t), batchOf(2, "x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := op.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	if err := op.Send(ctx, batchOf(2, "x")); err != nil {
		t.Fatal(err)
	}
}

// Checkpoints may be made while batches are sent; the race detector looks on.
func TestCheckpointsBesideSends(t *testing.T) {
	for _, f := range []Function{streaming, stateful} {
		op, ctx := openFake(t, f, Limits{}, 2, echoUpper)
		const n = 3000
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range n {
				if err := op.Send(ctx, batchOf(i, "x")); err != nil {
					t.Error(err)
				}
			}
		})
		for range 2 {
			wg.Go(func() {
				for range 200 {
					if err := op.Checkpoint(ctx); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i := range n {
			if r, err := op.Receive(ctx); err != nil || r.Err != nil || r.Batch.Tag != i {
				t.Fatal(i, err, r)
			}
		}
		wg.Wait()
	}
}
