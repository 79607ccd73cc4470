package fnapi

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// Traits are what must be known of an SDK's harness beyond its capabilities.
type Traits struct {
	// MaxMessageBytes is the largest Elements message that the harness takes;
	// zero means the runner's default.
	MaxMessageBytes int
	// SingleMessage: all input of a bundle and its end must be in one Elements
	// message (TypeScript: the data handler is not serialized).
	SingleMessage bool
	// TimersEndPerTransform: the harness counts one end of timers for each
	// transform, not for each timer family (Go).
	TimersEndPerTransform bool
	// RunningTotals: counters and distributions of a bundle include those of
	// the bundles that the harness ran before with the same descriptor
	// (TypeScript: what is reset between bundles is only whether a metric is
	// reported).
	RunningTotals bool
	// RefusesSplits: the harness answers to the split of a bundle that it does
	// not run, not yet or no more, with an error (TypeScript; others have an
	// empty answer).
	RefusesSplits bool
	// SplitFractionMin is the smallest fraction of what remains at which the
	// harness can be asked to split. Go computes where in the current element
	// that is, from the element's progress, and tells the result from "not in
	// this element" by its sign. At 0 the sign is that of a rounding error: now
	// and then the harness gives back the whole element that it goes on to
	// process.
	SplitFractionMin float64
	// AnonymousState: the harness may open its state stream without its worker
	// id (Python before 2.63, in a thread of another program). Its instruction
	// ids then begin with a token that nobody can guess, by which the stream is
	// known.
	AnonymousState bool
}

// WorkerConfig describes a worker that is expected.
type WorkerConfig struct {
	// ID is the worker id; an unguessable one is generated when empty.
	ID string
	// Name is used in messages to people; the ID when empty.
	Name string
	// Endpoint is the address by which this worker reaches the server, when it
	// is not the server's own.
	Endpoint string
	// Provision is what GetProvisionInfo answers; endpoints, options and runner
	// capabilities that are missing are filled in. May be nil.
	Provision *fnpb.ProvisionInfo
	// Capabilities are the SDK's, from its environment in the pipeline.
	Capabilities []string
	// Traits are the SDK's peculiarities.
	Traits Traits
	// OnLog gets each log entry of the worker, one call at a time per logging
	// stream; may be nil.
	OnLog func(*Harness, *fnpb.LogEntry)
	// Explain is asked for a better reason when the control stream is lost,
	// such as how the worker's process ended; may be nil. It may block a
	// little; nobody learns of the death before it returns.
	Explain func(error) error
}

// Harness is one SDK worker, as the runner sees it. All methods may be called
// concurrently.
type Harness struct {
	srv  *Server
	cfg  WorkerConfig
	id   string
	salt string // makes descriptor ids unguessable
	// token begins the instruction ids of a worker with AnonymousState, and
	// admits its state stream; else it is empty.
	token string

	ready chan struct{}
	done  chan struct{}

	controlQ    chan *fnpb.InstructionRequest
	dataQ       chan *fnpb.Elements
	dataSender  chan struct{} // token: one data stream sends at a time
	terminators chan *fnpb.Elements

	mu           sync.Mutex
	connected    bool // a control stream came
	closed       bool
	err          error
	nextID       uint64
	calls        map[string]chan *fnpb.InstructionResponse
	instructions map[string]*Instruction
	descriptors  map[string]*published // by the id given
	wireIDs      map[string]struct{}   // of all descriptors that the server has
	shortIDs     map[string]*pipepb.MonitoringInfo
	dropped      int64 // data messages for unknown instructions

	status statusClient
}

func newHarness(s *Server, cfg WorkerConfig) *Harness {
	h := &Harness{
		srv:          s,
		cfg:          cfg,
		id:           cfg.ID,
		salt:         randomHex(8),
		ready:        make(chan struct{}),
		done:         make(chan struct{}),
		controlQ:     make(chan *fnpb.InstructionRequest, controlQueueLen),
		dataQ:        make(chan *fnpb.Elements, dataQueueLen),
		dataSender:   make(chan struct{}, 1),
		terminators:  make(chan *fnpb.Elements, terminatorsMax),
		calls:        map[string]chan *fnpb.InstructionResponse{},
		instructions: map[string]*Instruction{},
		descriptors:  map[string]*published{},
		wireIDs:      map[string]struct{}{},
		shortIDs:     map[string]*pipepb.MonitoringInfo{},
	}
	if cfg.Traits.AnonymousState {
		h.token = randomHex(16)
	}
	return h
}

// ID returns the worker id.
func (h *Harness) ID() string { return h.id }

// Name returns the worker's name in messages to people.
func (h *Harness) Name() string { return h.cfg.Name }

// Endpoint returns the address by which this worker reaches the server.
func (h *Harness) Endpoint() string { return h.cfg.Endpoint }

// Capabilities returns the URNs of what the SDK is able to do.
func (h *Harness) Capabilities() []string { return slices.Clone(h.cfg.Capabilities) }

// Has reports whether the SDK has a capability, named by its URN.
func (h *Harness) Has(capability string) bool {
	return slices.Contains(h.cfg.Capabilities, capability)
}

// Traits returns the SDK's peculiarities.
func (h *Harness) Traits() Traits { return h.cfg.Traits }

// Ready is closed when the worker has opened its control stream.
func (h *Harness) Ready() <-chan struct{} { return h.ready }

// Done is closed when the harness is dead or closed.
func (h *Harness) Done() <-chan struct{} { return h.done }

// Err returns why the harness is dead; nil while it lives and after Close(nil).
func (h *Harness) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Close ends the worker's control stream, which tells the worker to stop, and
// fails everything that waits for it with a *DeadError. A nil err is an orderly
// end. Only the first call counts.
func (h *Harness) Close(err error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	h.closed, h.err = true, err
	wire := slices.Collect(maps.Keys(h.wireIDs))
	close(h.done)
	h.mu.Unlock()
	h.srv.retire(h, wire)
}

// dead returns the error for calls on a dead harness.
func (h *Harness) dead() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.deadLocked()
}

// deadLocked is dead with h.mu held.
func (h *Harness) deadLocked() error {
	cause := h.err
	if cause == nil {
		cause = ErrClosed
	}
	return &DeadError{Worker: h.cfg.Name, Cause: cause}
}

// Instruct sends req under a new id and waits for its response. It fails with
// an *SDKError when the SDK answers with an error, and with a *DeadError when
// the worker dies.
func (h *Harness) Instruct(ctx context.Context, req *fnpb.InstructionRequest) (*fnpb.InstructionResponse, error) {
	answer := make(chan *fnpb.InstructionResponse, 1)
	h.mu.Lock()
	req.InstructionId = h.newID()
	h.calls[req.InstructionId] = answer
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.calls, req.InstructionId)
		h.mu.Unlock()
	}()
	if err := h.sendControl(ctx, req); err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		if r.GetError() != "" {
			return nil, &SDKError{Text: r.GetError()}
		}
		return r, nil
	case <-h.done:
		return nil, h.dead()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for SDK worker %s: %w", h.cfg.Name, context.Cause(ctx))
	}
}

// newID returns an instruction id; h.mu is held.
func (h *Harness) newID() string {
	h.nextID++
	id := strconv.FormatUint(h.nextID, 36)
	if h.token != "" {
		return h.token + tokenEnd + id
	}
	return id
}

// sendControl queues a request for the control stream.
func (h *Harness) sendControl(ctx context.Context, req *fnpb.InstructionRequest) error {
	select {
	case <-h.done: // wins over room in the queue
		return h.dead()
	default:
	}
	select {
	case h.controlQ <- req:
		return nil
	case <-h.done:
		return h.dead()
	case <-ctx.Done():
		return fmt.Errorf("send to SDK worker %s: %w", h.cfg.Name, context.Cause(ctx))
	}
}
