package operator

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
)

func eofOK(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func upper(v string) (string, error) { return strings.ToUpper(v), nil }

func echoUpper(b *fakesdk.Bundle) error { return each(b, upper) }

var streaming = Function{URN: "test:upper", SelfFlushing: true}

func TestResultsComeInOrderWithTheirBatch(t *testing.T) {
	for _, f := range []Function{streaming, {URN: "test:upper"}} {
		t.Run(fmt.Sprint(f.SelfFlushing), func(t *testing.T) {
			p, _ := fakePool(t, 3, echoUpper)
			ctx := deadline(t)
			op, err := p.Open(ctx, f, Limits{BundleElements: 7, InFlight: 20})
			if err != nil {
				t.Fatal(err)
			}
			defer op.Close()
			const n = 500
			go func() {
				for i := range n {
					if err := op.Send(ctx, batchOf(i, fmt.Sprintf("a%d", i), "b")); err != nil {
						t.Error(err)
					}
				}
				if err := op.Flush(ctx); err != nil {
					t.Error(err)
				}
			}()
			for i := range n {
				r, err := op.Receive(ctx)
				if err != nil || r.Err != nil {
					t.Fatal(i, err, r.Err)
				}
				if want := []string{fmt.Sprintf("A%d", i), "B"}; r.Batch.Tag != i || !slices.Equal(elements(r.Data), want) {
					t.Fatalf("result %d is for %v: %v", i, r.Batch.Tag, elements(r.Data))
				}
			}
		})
	}
}

func TestOutputMayBeSplitAnywhere(t *testing.T) {
	p, _ := fakePool(t, 1, func(b *fakesdk.Bundle) error {
		for {
			i, err := b.Next()
			if err != nil {
				return eofOK(err)
			}
			for _, c := range i.Data {
				if err := b.Emit(sinkID, []byte{c}); err != nil {
					return err
				}
			}
		}
	})
	ctx := deadline(t)
	op, err := p.Open(ctx, streaming, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	long := strings.Repeat("x", 300)
	for range 3 {
		r, err := op.Call(ctx, batchOf(nil, "", long, "y"))
		if err != nil || !slices.Equal(elements(r.Data), []string{"", long, "y"}) {
			t.Fatal(err, elements(r.Data))
		}
	}
}

func TestAFailureStaysWithItsBatch(t *testing.T) {
	p, w := fakePool(t, 2, func(b *fakesdk.Bundle) error {
		return each(b, func(v string) (string, error) {
			if v == "bad" {
				return "", errors.New("Traceback (most recent call last):\n  File x\nValueError: bad\n")
			}
			return upper(v)
		})
	})
	ctx := deadline(t)
	op, err := p.Open(ctx, streaming, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	values := []string{"a", "b", "bad", "c", "bad", "d"}
	for i, v := range values {
		if err := op.Send(ctx, batchOf(i, v)); err != nil {
			t.Fatal(err)
		}
	}
	for i, v := range values {
		r, err := op.Receive(ctx)
		if err != nil || r.Batch.Tag != i {
			t.Fatal(err, r.Batch.Tag)
		}
		var fe *FunctionError
		switch {
		case v == "bad" && (!errors.As(r.Err, &fe) || r.Err.Error() != "test:upper: ValueError: bad"):
			t.Errorf("batch %d: %v", i, r.Err)
		case v != "bad" && (r.Err != nil || elements(r.Data)[0] != strings.ToUpper(v)):
			t.Errorf("batch %d: %v %v", i, r.Err, elements(r.Data))
		}
	}
	if w.started > 2 {
		t.Errorf("%d workers were started: an exception is no reason to", w.started)
	}
}

// killed is a process for upper case, whose worker dies of "kill" if dies says so.
func killed(dies func() bool) func(*fakesdk.Bundle) error {
	return func(b *fakesdk.Bundle) error {
		return each(b, func(v string) (string, error) {
			if v == "kill" && dies() {
				b.Worker().Kill()
				return "", fakesdk.ErrSilent
			}
			return upper(v)
		})
	}
}

// However often workers die of a function, the others of the pool go on.
func TestAFunctionThatKillsWorkersLeavesThePoolUsable(t *testing.T) {
	p, _ := fakePool(t, 1, killed(func() bool { return true }))
	ctx := deadline(t)
	for range 3 {
		op, err := p.Open(ctx, streaming, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var we *WorkerError
		if _, err := op.Call(ctx, batchOf(nil, "kill")); !errors.As(err, &we) || we.Attempts != DefaultAttempts {
			t.Fatal(err)
		}
		op.Close()
	}
	op, err := p.Open(ctx, streaming, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	if r, err := op.Call(ctx, batchOf(nil, "a")); err != nil || elements(r.Data)[0] != "A" {
		t.Fatal(err)
	}
}

func TestADeadWorkersBatchesAreSentAgain(t *testing.T) {
	var deaths atomic.Int32
	p, _ := fakePool(t, 1, killed(func() bool { return deaths.Add(1) <= 2 }))
	ctx := deadline(t)
	op, err := p.Open(ctx, streaming, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	for i, v := range []string{"a", "kill", "b"} {
		if err := op.Send(ctx, batchOf(i, v)); err != nil {
			t.Fatal(err)
		}
	}
	for i, v := range []string{"A", "KILL", "B"} {
		r, err := op.Receive(ctx)
		if err != nil || r.Err != nil || r.Batch.Tag != i || !slices.Equal(elements(r.Data), []string{v}) {
			t.Fatalf("%v %v %v: %v", err, r.Err, r.Batch.Tag, elements(r.Data))
		}
	}
	if n := deaths.Load(); n != 3 {
		t.Errorf("the function saw the batch %d times, want 3", n)
	}
}

func TestABatchThatKillsEveryWorkerFails(t *testing.T) {
	p, _ := fakePool(t, 1, killed(func() bool { return true }))
	ctx := deadline(t)
	op, err := p.Open(ctx, streaming, Limits{Attempts: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	_, err = op.Call(ctx, batchOf(nil, "kill"))
	var we *WorkerError
	if !errors.As(err, &we) || we.Attempts != 2 {
		t.Fatal(err)
	}
	if r, err := op.Call(ctx, batchOf(nil, "fine")); err != nil || elements(r.Data)[0] != "FINE" {
		t.Fatal(err)
	}
}

func TestTooMuchOrTooLittleOutputIsAnError(t *testing.T) {
	for name, n := range map[string]int{"none": 0, "two": 2} {
		t.Run(name, func(t *testing.T) {
			p, _ := fakePool(t, 1, func(b *fakesdk.Bundle) error {
				for {
					i, err := b.Next()
					if err != nil {
						return eofOK(err)
					}
					for range n {
						_ = b.Emit(sinkID, i.Data)
					}
				}
			})
			ctx := deadline(t)
			op, err := p.Open(ctx, Function{URN: "test"}, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			defer op.Close()
			r, err := op.Call(ctx, batchOf(nil, "a", "b"))
			if err == nil && n == 0 {
				t.Fatal(elements(r.Data))
			}
			if n == 2 && err == nil && len(elements(r.Data)) != 2 {
				t.Fatal(elements(r.Data))
			}
		})
	}
}

func TestCheckpointEndsBundles(t *testing.T) {
	var ended atomic.Int32
	p, _ := fakePool(t, 2, func(b *fakesdk.Bundle) error {
		defer ended.Add(1)
		return echoUpper(b)
	})
	ctx := deadline(t)
	op, err := p.Open(ctx, streaming, untilEnded)
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	for i := range 10 {
		if err := op.Send(ctx, batchOf(i, "x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := op.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if n := ended.Load(); n != 0 {
		t.Fatalf("Flush ended %d bundles", n)
	}
	if err := op.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	if n := ended.Load(); n == 0 || n > 2 {
		t.Fatalf("Checkpoint ended %d bundles", n)
	}
	for i := range 10 {
		if r, err := op.Receive(ctx); err != nil || r.Batch.Tag != i {
			t.Fatal(err)
		}
	}
}

func TestCloseAnswersEverything(t *testing.T) {
	p, _ := fakePool(t, 1, func(b *fakesdk.Bundle) error {
		_, err := b.Next()
		<-b.Worker().Ended()
		return err
	})
	ctx := deadline(t)
	op, err := p.Open(ctx, streaming, Limits{Ahead: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := op.Send(ctx, batchOf(i, "x")); err != nil {
			t.Fatal(err)
		}
	}
	go op.Close()
	for range 5 {
		if r, err := op.Receive(ctx); err != nil || r.Err == nil {
			t.Fatal(err, r.Err)
		}
	}
	if _, err := op.Receive(ctx); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := op.Send(ctx, batchOf(0, "x")); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	op.Close()
}

func TestBundlesSpreadOverAllWorkers(t *testing.T) {
	arrived := make(chan struct{}, 3)
	p, w := fakePool(t, 3, func(b *fakesdk.Bundle) error {
		return each(b, func(v string) (string, error) {
			arrived <- struct{}{}
			for len(arrived) < 3 { // until each worker has one
				select {
				case <-b.Worker().Ended():
					return "", io.ErrUnexpectedEOF
				case <-time.After(time.Millisecond):
				}
			}
			return v, nil
		})
	})
	ctx := deadline(t)
	op, err := p.Open(ctx, Function{URN: "test"}, Limits{BundleElements: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	for range 3 {
		if err := op.Send(ctx, batchOf(nil, "x")); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if r, err := op.Receive(ctx); err != nil || r.Err != nil {
			t.Fatal(err, r.Err)
		}
	}
	if w.started != 3 {
		t.Fatalf("%d workers did what three should", w.started)
	}
}
