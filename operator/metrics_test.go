package operator

import (
	"math"
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
)

// calls is a counter of a function's own.
func calls(n byte) []*pipepb.MonitoringInfo {
	return []*pipepb.MonitoringInfo{{
		Urn: "beam:metric:user:sum_int64:v1", Type: "beam:metrics:sum_int64:v1", Payload: []byte{n},
		Labels: map[string]string{"NAMESPACE": "test", "NAME": "calls", "PTRANSFORM": transformID},
	}}
}

// A bundle counts once, also one that ends, or has ended for the worker, while it
// is asked how far it is.
func TestABundleCountsOnce(t *testing.T) {
	const (
		runs  = "runs"
		ends  = "ends"
		ended = "has ended"
	)
	for _, f := range []Function{streaming, stateful} {
		for _, state := range []string{runs, ends, ended} {
			t.Run(f.name()+" "+state, func(t *testing.T) {
				p, w := fakePool(t, 1, func(b *fakesdk.Bundle) error {
					b.Response.MonitoringInfos = calls(5)
					return echoUpper(b)
				})
				ctx := deadline(t)
				asked := 0
				var op *Operator
				w.other = func(r *fnpb.InstructionRequest) *fnpb.InstructionResponse {
					if r.GetProcessBundleProgress() == nil {
						return nil
					}
					if asked++; asked > 1 && state == ended {
						return nil // an error: the bundle is not known any more
					}
					if asked > 1 && state == ends {
						op.endBundles(math.MaxInt64)
						for {
							open, changed := op.bundlesUpTo(math.MaxInt64)
							if !open {
								break
							}
							<-changed
						}
					}
					return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_ProcessBundleProgress{
						ProcessBundleProgress: &fnpb.ProcessBundleProgressResponse{MonitoringInfos: calls(3)},
					}}
				}
				var err error
				if op, err = p.Open(ctx, f, untilEnded); err != nil {
					t.Fatal(err)
				}
				defer op.Close()
				if err := op.Send(ctx, batchOf(nil, "a")); err != nil {
					t.Fatal(err)
				}
				count := func() int64 {
					m, err := op.Metrics(ctx)
					if err != nil {
						t.Fatal(err)
					}
					if len(m) == 0 {
						return 0
					}
					return m[0].Int
				}
				for count() == 0 { // the bundle has begun
				}
				want := map[string]int64{runs: 3, ends: 5, ended: 3}[state]
				if got := count(); got != want {
					t.Errorf("%d calls, want %d", got, want)
				}
				if err := op.Checkpoint(ctx); err != nil {
					t.Fatal(err)
				}
				if got := count(); got != 5 {
					t.Errorf("%d calls in the end, want 5", got)
				}
			})
		}
	}
}
