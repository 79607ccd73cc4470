package fnapi

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
)

// stateStream is a worker's state stream with its responses serialized.
type stateStream struct {
	mu sync.Mutex // serializes Send; nothing else is done under it
	s  fnpb.BeamFnState_StateServer
}

// send sends one response. The stream's end is noticed by its receiver.
func (s *stateStream) send(r *fnpb.StateResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.s.Send(r)
}

// refuse answers req with an error.
func (s *stateStream) refuse(req *fnpb.StateRequest, format string, args ...any) {
	s.send(&fnpb.StateResponse{Id: req.GetId(), Error: fmt.Sprintf(format, args...)})
}

// stateCall is a state request that waits for its turn.
type stateCall struct {
	req *fnpb.StateRequest
	to  *stateStream
}

// State is the stream on which bundles read and write state.
func (v *services) State(stream fnpb.BeamFnState_StateServer) error {
	h, stream, err := v.s.acceptState(stream)
	if h == nil || err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- h.receiveState(stream) }()
	select {
	case err := <-received:
		// A bundle that waits for state would wait for ever; but other
		// bundles may not use state at all, so the SDK has to fail them.
		return err
	case <-h.done:
		return linger(received)
	}
}

// receiveState routes requests until the stream ends.
func (h *Harness) receiveState(stream fnpb.BeamFnState_StateServer) error {
	to := &stateStream{s: stream}
	for {
		req, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		i := h.instruction(req.GetInstructionId())
		if i == nil {
			to.refuse(req, "no bundle with instruction id %q is being processed", req.GetInstructionId())
			continue
		}
		i.enqueueState(stream.Context(), stateCall{req, to})
	}
}

// enqueueState lets the call be served after those before it.
func (i *Instruction) enqueueState(ctx context.Context, c stateCall) {
	for {
		i.mu.Lock()
		switch {
		case i.closed:
			i.mu.Unlock()
			c.to.refuse(c.req, "the bundle with instruction id %q has ended", i.id)
			return
		case !i.stateBusy:
			i.stateBusy = true
			i.mu.Unlock()
			go i.serveState(c)
			return
		case len(i.stateQ) < stateQueueMax:
			i.stateQ = append(i.stateQ, c)
			i.mu.Unlock()
			return
		}
		i.mu.Unlock()
		select {
		case <-i.stateSpace:
		case <-i.ctx.Done():
		case <-ctx.Done():
			return
		}
	}
}

// serveState serves c and all calls that queued up behind it. Responses are
// sent when the instruction no longer counts as busy or as the next call's
// prelude: Close must not wait for a worker that does not read.
func (i *Instruction) serveState(c stateCall) {
	for {
		resp := i.callState(c.req)
		i.mu.Lock()
		var next stateCall
		more := len(i.stateQ) > 0 && !i.closed
		var rest []stateCall
		switch {
		case more:
			next = i.stateQ[0]
			i.stateQ[0] = stateCall{}
			i.stateQ = i.stateQ[1:]
		default:
			rest, i.stateQ = i.stateQ, nil
			i.stateBusy = false
			i.stateIdle.Broadcast()
		}
		i.mu.Unlock()
		notify(i.stateSpace)
		c.to.send(resp)
		if !more {
			for _, r := range rest {
				r.to.refuse(r.req, "the bundle with instruction id %q has ended", i.id)
			}
			return
		}
		c = next
	}
}

// callState calls the handler and makes a response of whatever it does.
func (i *Instruction) callState(req *fnpb.StateRequest) (resp *fnpb.StateResponse) {
	defer func() {
		if p := recover(); p != nil {
			i.h.srv.log.Error("state handler panicked", "panic", p, "stack", string(debug.Stack()))
			resp = &fnpb.StateResponse{Id: req.GetId(), Error: fmt.Sprintf("runner error: %v", p)}
		}
	}()
	if i.handler == nil {
		return &fnpb.StateResponse{Id: req.GetId(), Error: "this bundle has no state"}
	}
	resp, err := i.handler.State(i.ctx, req)
	switch {
	case err != nil:
		return &fnpb.StateResponse{Id: req.GetId(), Error: err.Error()}
	case resp == nil:
		return &fnpb.StateResponse{Id: req.GetId(), Error: "runner error: no response"}
	}
	resp.Id = req.GetId()
	return resp
}
