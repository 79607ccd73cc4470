package job

import (
	"context"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// Workers are the workers of one environment, as bundles see them. In a server
// they are SDK harnesses behind gRPC; the simulation has some of its own.
type Workers interface {
	// Get takes a worker that is free, and waits for one if there is none.
	Get(ctx context.Context) (Worker, error)
	// Put gives a worker back.
	Put(w Worker)
	// Size is how many workers there are.
	Size() int
	// MaxInput is how many bytes of input a bundle may have; 0: any number.
	MaxInput() int64
}

// Worker runs bundles.
type Worker interface {
	// Start begins a bundle of the given descriptor, whose id is that of the
	// spec; cancelling ctx makes it give up.
	Start(ctx context.Context, d *fnpb.ProcessBundleDescriptor, s bundle.Spec) Bundle
}

// inspected is a Worker that can be looked at and ended.
type inspected interface {
	Name() string
	// Status is a text about its threads and memory.
	Status(ctx context.Context) (string, error)
	// Close ends it; err is why.
	Close(err error)
}

// Bundle is a bundle on a worker. See bundle.Bundle for what its methods mean.
type Bundle interface {
	Wait() (*bundle.Result, error)
	Done() <-chan struct{}
	Progress(ctx context.Context) ([]*pipepb.MonitoringInfo, error)
	Split(ctx context.Context, fraction float64, estimated int64, allowed []int64) (*fnpb.ProcessBundleSplitResponse, error)
	// Finalize tells the worker, after Wait, that what it did is durable.
	Finalize(ctx context.Context) error
}

// harnesses are the Workers of a pool.
type harnesses struct{ *environment.Pool }

func (p harnesses) Get(ctx context.Context) (Worker, error) {
	h, err := p.Pool.Get(ctx)
	if err != nil {
		return nil, err
	}
	return harness{h}, nil
}

func (p harnesses) Put(w Worker) { p.Pool.Put(w.(harness).Harness) }

// harness is a Worker of a pool.
type harness struct{ *fnapi.Harness }

func (h harness) Start(ctx context.Context, d *fnpb.ProcessBundleDescriptor, s bundle.Spec) Bundle {
	h.AddDescriptor(d)
	return harnessBundle{bundle.Start(ctx, h.Harness, s), h.Harness}
}

// harnessBundle is a Bundle on a harness.
type harnessBundle struct {
	*bundle.Bundle
	h *fnapi.Harness
}

func (b harnessBundle) Finalize(ctx context.Context) error {
	return bundle.Finalize(ctx, b.h, b.Instruction())
}
