package fnapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// errControlEnded is the cause of death of a worker that ended its control
// stream by itself.
var errControlEnded = errors.New("it ended its control stream")

// errControlLost is the cause of death of a worker whose connection broke.
var errControlLost = errors.New("its connection was lost")

// brokenControl makes a cause of death of a stream's error.
func brokenControl(err error) error {
	if errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		return errControlLost // gRPC's way of saying so
	}
	return fmt.Errorf("its control stream broke: %w", err)
}

// accept finds out whose stream it is; nil for a worker that has finished,
// whose late streams end without an error. The response headers go out right
// away: TypeScript and others wait for them before they trust a stream.
func (s *Server) accept(stream grpc.ServerStream) (*Harness, error) {
	h, err := s.lookup(stream.Context())
	if err != nil {
		return nil, err
	}
	return h, stream.SendHeader(metadata.MD{})
}

// Control is a worker's control stream; its end is the worker's death.
func (v *services) Control(stream fnpb.BeamFnControl_ControlServer) error {
	h, err := v.s.accept(stream)
	if h == nil || err != nil {
		return err
	}
	h.mu.Lock()
	if h.connected {
		h.mu.Unlock()
		return status.Error(codes.AlreadyExists, "this worker has a control stream already")
	}
	h.connected = true
	h.mu.Unlock()
	close(h.ready)

	received := make(chan error, 1)
	sent := make(chan error, 1)
	go func() { received <- h.receiveControl(stream) }()
	go func() { sent <- h.writeControl(stream) }()
	select {
	case err = <-received:
	case err = <-sent:
	case <-h.done:
		return nil // half-close: the worker shuts down
	}
	if err == nil {
		return nil // the harness was closed meanwhile
	}
	if h.cfg.Explain != nil {
		err = h.cfg.Explain(err)
	}
	h.Close(err)
	return nil
}

// receiveControl routes responses until the stream ends.
func (h *Harness) receiveControl(stream fnpb.BeamFnControl_ControlServer) error {
	for {
		r, err := stream.Recv()
		if err == io.EOF {
			return errControlEnded
		}
		if err != nil {
			return brokenControl(err)
		}
		h.respond(r)
	}
}

// respond routes one response to who waits for it.
func (h *Harness) respond(r *fnpb.InstructionResponse) {
	id := r.GetInstructionId()
	h.concealAnswer(r)
	h.mu.Lock()
	answer := h.calls[id]
	delete(h.calls, id)
	i := h.instructions[id]
	h.mu.Unlock()
	switch {
	case answer != nil:
		answer <- r // has room for the only response
	case i != nil:
		i.respond(r)
	default:
		h.srv.log.Debug("response to an instruction that nobody waits for", "worker", h.cfg.Name, "instruction", h.conceal(id))
	}
}

// writeControl sends queued requests until the harness is closed.
func (h *Harness) writeControl(stream fnpb.BeamFnControl_ControlServer) error {
	for {
		select {
		case req := <-h.controlQ:
			if err := stream.Send(req); err != nil {
				return brokenControl(err)
			}
		case <-h.done:
			return nil
		case <-stream.Context().Done():
			return brokenControl(stream.Context().Err())
		}
	}
}

// linger waits, once the harness is closed, for the worker to end a stream
// whose receiving half reports to received. The worker gets to send its last
// log lines, and its last state requests are answered, before it is cut off.
func linger(received <-chan error) error {
	t := time.NewTimer(lingerTimeout)
	defer t.Stop()
	select {
	case <-received:
		return nil
	case <-t.C:
		return status.Error(codes.Canceled, "the worker was closed")
	}
}
