package pyflink_test

import (
	"bytes"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/operatortest"
	"github.com/pharos-beam/pharos/operator/pyflink"
)

// TestTimeToLive moves a clock and looks at what is left of states that live
// for a minute: since they were written, or also since they were read.
func TestTimeToLive(t *testing.T) {
	payload, err := exec.Command(operatortest.Python(t, "pyflink"), "testdata/ttl.py").Output()
	if err != nil {
		t.Fatal(err)
	}
	f := &pyflink.Stream{
		Kind: pyflink.KeyedProcess, Payload: unbase64(string(bytes.TrimSpace(payload))), Key: pyflink.LongInfo,
		Input: pairInfo, Output: pyflink.StringInfo,
	}
	var seconds atomic.Int64
	function := f.Function()
	function.States = pyflink.States{Now: func() time.Time { return time.Unix(1_700_000_000+seconds.Load(), 0) }}
	op, err := pool(t, operator.PoolOptions{}).Open(deadline(t), function, operator.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	for i, step := range []struct {
		at   int64
		want string
	}{
		{0, "count 1 first 0 all [0] seen [0] empty False always 1"},
		{40, "count 2 first 0 all [0, 1] seen [0, 1] empty False always 2"},
		{80, "count 3 first 0 all [1, 2] seen [1, 2] empty False always 3"},
		{120, "count 4 first 0 all [2, 3] seen [2, 3] empty False always 4"},
		{180, "count 1 first 4 all [4] seen [4] empty False always 5"},
	} {
		seconds.Store(step.at)
		b, err := f.Batch(pyflink.NoWatermark, pyflink.Event{Key: int64(1), Value: []any{int64(1), int64(i)}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := op.Call(deadline(t), b)
		if err != nil {
			t.Fatal(err)
		}
		events, err := f.Read(r.Data)
		if err != nil || len(events) != 1 || events[0].Value != step.want {
			t.Fatalf("after %d s: %v %v, want %s", step.at, events, err, step.want)
		}
	}
}
