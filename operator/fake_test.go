package operator

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeWorkers is a worker pool service whose workers run process.
type fakeWorkers struct {
	fnpb.UnimplementedBeamFnExternalWorkerPoolServer
	process func(*fakesdk.Bundle) error
	other   func(*fnpb.InstructionRequest) *fnpb.InstructionResponse
	mu      sync.Mutex
	workers map[string]*fakesdk.Worker
	started int
}

func (w *fakeWorkers) StartWorker(_ context.Context, r *fnpb.StartWorkerRequest) (*fnpb.StartWorkerResponse, error) {
	worker, err := fakesdk.Start(fakesdk.Config{Target: r.GetControlEndpoint().GetUrl(), ID: r.GetWorkerId(), Process: w.process, Other: w.other})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.started++
	w.workers[r.GetWorkerId()] = worker
	return &fnpb.StartWorkerResponse{}, nil
}

func (w *fakeWorkers) StopWorker(_ context.Context, r *fnpb.StopWorkerRequest) (*fnpb.StopWorkerResponse, error) {
	w.mu.Lock()
	worker := w.workers[r.GetWorkerId()]
	delete(w.workers, r.GetWorkerId())
	w.mu.Unlock()
	if worker != nil {
		worker.Stop()
	}
	return &fnpb.StopWorkerResponse{}, nil
}

// fakePool is a pool of n workers whose bundles run process.
func fakePool(t *testing.T, n int, process func(*fakesdk.Bundle) error) (*Pool, *fakeWorkers) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &fakeWorkers{process: process, workers: map[string]*fakesdk.Worker{}}
	g := grpc.NewServer()
	fnpb.RegisterBeamFnExternalWorkerPoolServer(g, w)
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(lis) }()
	p, err := NewPool(External(lis.Addr().String()), PoolOptions{Workers: n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		g.Stop()
		<-served
		for _, worker := range w.workers {
			worker.Stop()
		}
	})
	return p, w
}

// each calls fn for each element of the input and emits what it returns.
func each(b *fakesdk.Bundle, fn func(v string) (string, error)) error {
	for {
		i, err := b.Next()
		if err != nil {
			return eofOK(err)
		}
		if i.Timer {
			continue
		}
		rest := i.Data
		var out []byte
		for len(rest) > 0 {
			var v []byte
			v, rest, _ = NextElement(rest)
			got, err := fn(string(v))
			if err != nil {
				return err
			}
			out = AppendElement(out, []byte(got))
		}
		if err := b.Emit(sinkID, out); err != nil {
			return err
		}
	}
}

// batchOf makes a batch of elements.
func batchOf(tag any, values ...string) Batch {
	b := Batch{Elements: int64(len(values)), Tag: tag}
	for _, v := range values {
		b.Data = AppendElement(b.Data, []byte(v))
	}
	return b
}

// elements is the reverse of batchOf.
func elements(data []byte) (values []string) {
	for len(data) > 0 {
		v, rest, ok := NextElement(data)
		if !ok {
			return append(values, "damaged")
		}
		values, data = append(values, string(v)), rest
	}
	return values
}

// openFake runs a function on n workers that run the process, until the test ends.
func openFake(t *testing.T, f Function, l Limits, n int, process func(*fakesdk.Bundle) error) (*Operator, context.Context) {
	t.Helper()
	p, _ := fakePool(t, n, process)
	ctx := deadline(t)
	op, err := p.Open(ctx, f, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(op.Close)
	return op, ctx
}

// untilEnded are limits with which no bundle ends for its age: for tests that say
// what is in one, also on a slow machine.
var untilEnded = Limits{BundleTime: time.Hour}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
