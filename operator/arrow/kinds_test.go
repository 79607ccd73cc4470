package arrow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	arr "github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
	"github.com/pharos-beam/pharos/operator/operatortest"
)

const kinds = `
import os, logging
import pandas as pd
from apache_beam.metrics import Metrics
from pharos_beam import udf

@udf.pandas(returns='float64')
def half(a):
    return a / 2

@udf.table(returns={'n': 'int64', 's': 'string'})
def repeat(a, b):
    for i in range(a % 3):
        yield a, 'x%d' % i

@udf.aggregate(returns='int64')
class Sum(udf.Aggregate):
    def create(self):
        return 0
    def accumulate(self, total, v):
        return total + (v or 0)
    def result(self, total):
        return total

@udf.scalar(returns='int64')
def picky(a, b):
    Metrics.counter('test', 'calls').inc()
    if a == 7:
        logging.warning('seven is coming')
        raise ValueError('no sevens')
    return a

@udf.scalar(returns='int64')
def seven():
    return 7

@udf.scalar(returns='int64')
def exits(a, b):
    os._exit(3)
`

// open opens a function on one worker.
func open(t *testing.T, p *operator.Pool, f operator.Function) (*arrow.Operator, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	op, err := arrow.Open(ctx, p, f, operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(op.Close)
	return op, ctx
}

// texts are the rows of a batch.
func texts(b arr.RecordBatch) []string {
	rows := make([]string, b.NumRows())
	for i := range rows {
		var values []string
		for _, c := range b.Columns() {
			values = append(values, c.ValueStr(i))
		}
		rows[i] = strings.Join(values, " ")
	}
	return rows
}

// What a worker keeps for many keys is in the state of the bundle that it belongs
// to, as one that reads it anew for each bundle sees.
func TestRunningKeepsManyKeys(t *testing.T) {
	op, ctx := open(t, operatortest.Pool(t, operator.PoolOptions{StateCache: -1}),
		arrow.Running([]int{0}, arrow.Call{Function: "Sum", Source: kinds, Args: []int{0}}))
	const keys = 5000
	for round := range int64(3) {
		out, err := op.Call(ctx, numbers(0, keys))
		if err != nil {
			t.Fatal(err)
		}
		if out.NumRows() != keys {
			t.Fatalf("%d keys, want %d", out.NumRows(), keys)
		}
		key, sum := out.Column(0).(*array.Int64), out.Column(1).(*array.Int64)
		for i := range int(out.NumRows()) {
			if k := key.Value(i); sum.Value(i) != (round+1)*k {
				t.Fatalf("round %d: the sum of key %d is %d", round, k, sum.Value(i))
			}
		}
		if err := op.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKinds(t *testing.T) {
	said := make(chan struct{})
	var once sync.Once
	p := operatortest.Pool(t, operator.PoolOptions{OnLog: func(e operator.LogEntry) {
		if e.Message == "seven is coming" {
			once.Do(func() { close(said) })
		}
	}})
	call := func(name string, args ...int) arrow.Call {
		return arrow.Call{Function: name, Source: kinds, Args: args}
	}
	for name, c := range map[string]struct {
		f    operator.Function
		want [][]string
	}{
		"pandas": {arrow.Function(call("half", 0)), [][]string{{"0", "0.5", "1", "1.5"}, {"2", "2.5", "3", "3.5"}}},
		"table": {arrow.Function(call("repeat")), [][]string{
			{"1 1 x0", "2 2 x0", "2 2 x1"}, {"0 4 x0", "1 5 x0", "1 5 x1", "3 7 x0"},
		}},
		"no arguments": {arrow.Function(arrow.Call{Function: "seven", Source: kinds, Args: []int{}}), [][]string{{"7", "7", "7", "7"}}},
		"aggregate":    {arrow.Aggregate(nil, call("Sum", 0)), [][]string{{"6"}, {"22"}}},
		"running":      {arrow.Running(nil, call("Sum", 0)), [][]string{{"6"}, {"28"}}},
		"by key":       {arrow.Running([]int{1}, call("Sum", 0)), [][]string{{"(null) 0", "2 1", "4 2", "6 3"}, {"8 4", "10 5", "12 6", "14 7"}}},
	} {
		t.Run(name, func(t *testing.T) {
			op, ctx := open(t, p, c.f)
			for i, want := range c.want {
				out, err := op.Call(ctx, numbers(int64(4*i), 4))
				if err != nil {
					t.Fatal(err)
				}
				if got := texts(out); !slices.Equal(got, want) {
					t.Fatalf("batch %d: %q, want %q", i, got, want)
				}
			}
		})
	}
	t.Run("exception", func(t *testing.T) {
		op, ctx := open(t, p, arrow.Function(call("picky")))
		_, err := op.Call(ctx, numbers(5, 5))
		var fe *operator.FunctionError
		if !errors.As(err, &fe) || !strings.HasSuffix(err.Error(), "ValueError: no sevens") || !strings.Contains(fe.Traceback, "raise ValueError('no sevens')") {
			t.Fatal(err)
		}
		if _, err := op.Call(ctx, numbers(20, 5)); err != nil {
			t.Fatal(err)
		}
		if err := op.Checkpoint(ctx); err != nil {
			t.Fatal(err)
		}
		metrics, err := op.Metrics(ctx)
		i := slices.IndexFunc(metrics, func(m operator.Metric) bool { return m.Name() == "calls" })
		if err != nil || i < 0 || metrics[i].Int != 5 {
			t.Fatal(err, metrics)
		}
		select {
		case <-said:
		case <-ctx.Done():
			t.Fatal("the function's log line has not come")
		}
	})
	t.Run("exit", func(t *testing.T) {
		op, ctx := open(t, p, arrow.Function(call("exits")))
		_, err := op.Call(ctx, numbers(0, 5))
		var we *operator.WorkerError
		if !errors.As(err, &we) || !strings.Contains(err.Error(), "exit status 3") {
			t.Fatal(err)
		}
	})
}

// A traceback that cannot be encoded is told nevertheless, of a call as of the
// making of the function.
func TestATracebackWithoutUTF8(t *testing.T) {
	p := operatortest.Pool(t, operator.PoolOptions{})
	raise := "raise ValueError('no \\udcff')"
	for name, source := range map[string]string{"call": "def f(a, b):\n  " + raise, "source": raise} {
		op, ctx := open(t, p, arrow.Function(arrow.Call{Function: "f", Source: source}))
		_, err := op.Call(ctx, numbers(0, 1))
		var fe *operator.FunctionError
		if !errors.As(err, &fe) || !strings.HasSuffix(err.Error(), `ValueError: no \udcff`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A worker that has nothing to say is silent: what Beam's harness reports of itself
// is not the engine's.
func TestWorkersAreQuiet(t *testing.T) {
	var mu sync.Mutex
	var said []string
	p := operatortest.Pool(t, operator.PoolOptions{OnLog: func(e operator.LogEntry) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, e.Message)
	}})
	op, ctx := open(t, p, arrow.Function(arrow.Call{Function: "f", Source: "import logging\ndef f(a, b):\n  logging.info('mine')\n  return a"}))
	if _, err := op.Call(ctx, numbers(0, 1)); err != nil {
		t.Fatal(err)
	}
	op.Close()
	p.Close() // after which everything has been said
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(said, []string{"mine"}) {
		t.Errorf("%q", said)
	}
}

func TestNoBatch(t *testing.T) {
	if _, err := arrow.Encode(nil); err == nil {
		t.Error("no batch has been encoded")
	}
}

// TestEmptyBatch: a batch without rows gives a batch without rows.
func TestEmptyBatch(t *testing.T) {
	p := operatortest.Pool(t, operator.PoolOptions{})
	op, ctx := open(t, p, arrow.Function(arrow.Call{Function: "add", Source: source}))
	out, err := op.Call(ctx, numbers(0, 0))
	if err != nil || out.NumRows() != 0 || out.Column(0).(*array.Int64).Len() != 0 {
		t.Fatal(err, out)
	}
}
