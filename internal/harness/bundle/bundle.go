package bundle

import (
	"context"
	"errors"
	"sync/atomic"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// errDone stops the feeding of a bundle that the SDK has answered.
var errDone = errors.New("the bundle is done")

// errEarly: whatever the SDK has done, it was not with all elements.
var errEarly = errors.New("the SDK answered that the bundle is done before it had got all of its input")

// Bundle is a bundle in flight. Its methods may be called concurrently.
type Bundle struct {
	h     *fnapi.Harness
	inst  *fnapi.Instruction
	lease *fnapi.Lease // of the descriptor
	spec  Spec

	sent      atomic.Int64 // elements handed to the worker
	requested atomic.Bool  // the request is on its way
	split     atomic.Bool  // a split was asked for, so the worker may not need all input

	finished chan struct{}
	result   *Result // valid once finished
	err      error
}

// Start begins a bundle on h. The caller must Wait for it; cancelling ctx makes
// it give up.
func Start(ctx context.Context, h *fnapi.Harness, s Spec) *Bundle {
	if s.CloseTimeout <= 0 {
		s.CloseTimeout = DefaultCloseTimeout
	}
	b := &Bundle{h: h, spec: s, finished: make(chan struct{})}
	if err := b.open(); err != nil {
		b.err = err
		close(b.finished)
		return b
	}
	go b.run(ctx)
	return b
}

// open registers the instruction.
func (b *Bundle) open() error {
	lease, err := b.h.Lease(b.spec.Descriptor)
	if err != nil {
		return err
	}
	inst, err := b.h.Open(b.spec.State)
	if err != nil {
		lease.Discard()
		return err
	}
	b.lease, b.inst = lease, inst
	return nil
}

// Instruction returns the bundle's instruction id, for Finalize; "" if it never
// started.
func (b *Bundle) Instruction() string {
	if b.inst == nil {
		return ""
	}
	return b.inst.ID()
}

// Wait returns when the bundle is over. The error is an *fnapi.SDKError when
// the SDK failed it, an *fnapi.DeadError when the worker died, and ctx's cause
// when that was cancelled.
func (b *Bundle) Wait() (*Result, error) {
	<-b.finished
	return b.result, b.err
}

// Done is closed when Wait would not block.
func (b *Bundle) Done() <-chan struct{} { return b.finished }

// Sent returns how many elements of the input port have been handed to the
// worker's stream; timers do not count.
func (b *Bundle) Sent() int64 { return b.sent.Load() }

// run drives the bundle to its end.
func (b *Bundle) run(ctx context.Context) {
	defer close(b.finished)
	ctx, cancel := context.WithCancelCause(ctx)
	f := newFeeder(b)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		if err := f.run(ctx); err != nil {
			cancel(err)
		}
	}()
	resp, err := b.collect(ctx)
	cancel(errDone)
	<-fed
	if err == nil && f.unfinished() && !b.split.Load() {
		err = errEarly
	}
	if err == nil {
		b.inst.Drain()
	}
	b.inst.Close()
	if err != nil {
		b.err = err
		b.lease.Discard()
		if f.unfinished() && !answered(err) {
			b.inst.Abandon(f.ends())
		}
		return
	}
	infos := b.infos(ctx, resp)
	b.result = &Result{Response: resp, Infos: b.lease.Since(infos)}
	b.lease.Release(infos)
}

// answered tells errors after which the worker expects no more input.
func answered(err error) bool {
	var sdk *fnapi.SDKError
	var dead *fnapi.DeadError
	return errors.As(err, &sdk) || errors.As(err, &dead)
}

// infos resolves the response's monitoring infos. A worker that died right
// after its response does not spoil the bundle.
func (b *Bundle) infos(ctx context.Context, r *fnpb.ProcessBundleResponse) []*pipepb.MonitoringInfo {
	if len(r.GetMonitoringInfos()) >= len(r.GetMonitoringData()) {
		return r.GetMonitoringInfos()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), infosTimeout)
	defer cancel()
	infos, _ := b.h.ResolveInfos(ctx, r.GetMonitoringInfos(), r.GetMonitoringData())
	return infos
}

// Progress asks the SDK how far it is. It returns nothing while the SDK does
// not process the bundle, be it not yet or no more.
func (b *Bundle) Progress(ctx context.Context) ([]*pipepb.MonitoringInfo, error) {
	if !b.running() {
		return nil, nil
	}
	r, err := b.h.Instruct(ctx, &fnpb.InstructionRequest{
		Request: &fnpb.InstructionRequest_ProcessBundleProgress{
			ProcessBundleProgress: &fnpb.ProcessBundleProgressRequest{InstructionId: b.inst.ID()},
		},
	})
	if err != nil {
		return nil, ignoreRefusal(err)
	}
	p := r.GetProcessBundleProgress()
	infos, err := b.h.ResolveInfos(ctx, p.GetMonitoringInfos(), p.GetMonitoringData())
	return b.lease.Since(infos), err
}

// Split asks the SDK to give up part of the bundle: fraction of what remains
// of about estimated elements, at one of the allowed positions if there are
// any. An SDK that does not split, or not now, answers with an empty response.
// An error means that it is not known what the SDK did with the input, unless
// the bundle ends: then the SDK may just not know it any more.
func (b *Bundle) Split(ctx context.Context, fraction float64, estimated int64, allowed []int64) (*fnpb.ProcessBundleSplitResponse, error) {
	none := &fnpb.ProcessBundleSplitResponse{}
	if !b.running() || b.spec.InputPort == "" {
		return none, nil
	}
	b.split.Store(true)
	r, err := b.h.Instruct(ctx, &fnpb.InstructionRequest{
		Request: &fnpb.InstructionRequest_ProcessBundleSplit{
			ProcessBundleSplit: &fnpb.ProcessBundleSplitRequest{
				InstructionId: b.inst.ID(),
				DesiredSplits: map[string]*fnpb.ProcessBundleSplitRequest_DesiredSplit{
					b.spec.InputPort: {
						FractionOfRemainder:    max(fraction, b.h.Traits().SplitFractionMin),
						EstimatedInputElements: estimated,
						AllowedSplitPoints:     allowed,
					},
				},
			},
		},
	})
	if err != nil {
		if b.h.Traits().RefusesSplits {
			err = ignoreRefusal(err)
		}
		return none, err
	}
	if s := r.GetProcessBundleSplit(); s != nil {
		return s, nil
	}
	return none, nil
}

// running reports whether the SDK may know the bundle.
func (b *Bundle) running() bool {
	select {
	case <-b.finished:
		return false
	default:
		return b.requested.Load()
	}
}

// ignoreRefusal drops an SDK's error to a question about a bundle: it means
// that the bundle is not running there.
func ignoreRefusal(err error) error {
	var sdk *fnapi.SDKError
	if errors.As(err, &sdk) {
		return nil
	}
	return err
}

// Finalize tells the SDK that the output of a bundle that required it is
// durable; instruction is Bundle.Instruction of that bundle, on the same h.
func Finalize(ctx context.Context, h *fnapi.Harness, instruction string) error {
	_, err := h.Instruct(ctx, &fnpb.InstructionRequest{
		Request: &fnpb.InstructionRequest_FinalizeBundle{
			FinalizeBundle: &fnpb.FinalizeBundleRequest{InstructionId: instruction},
		},
	})
	return err
}
