package fnapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
)

// ErrNoStatus is returned by Status when the worker offers none.
var ErrNoStatus = errors.New("the worker reports no status")

// statusClient is the runner's end of a worker's status stream.
type statusClient struct {
	mu    sync.Mutex
	reqs  chan *fnpb.WorkerStatusRequest // nil: no stream
	next  int
	calls map[string]chan *fnpb.WorkerStatusResponse
}

// Status asks the worker for a text about what it is doing: threads, memory,
// active bundles. It fails with ErrNoStatus if the worker opened no status
// stream; workers do so when their provision info names a status endpoint.
func (h *Harness) Status(ctx context.Context) (string, error) {
	c := &h.status
	c.mu.Lock()
	reqs := c.reqs
	if reqs == nil {
		c.mu.Unlock()
		return "", ErrNoStatus
	}
	c.next++
	id := strconv.Itoa(c.next)
	answer := make(chan *fnpb.WorkerStatusResponse, 1)
	c.calls[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
	}()
	select {
	case reqs <- &fnpb.WorkerStatusRequest{Id: id}:
	case <-h.done:
		return "", h.dead()
	case <-ctx.Done():
		return "", fmt.Errorf("ask SDK worker %s for its status: %w", h.cfg.Name, context.Cause(ctx))
	}
	select {
	case r := <-answer:
		if r.GetError() != "" {
			return "", &SDKError{Text: h.conceal(r.GetError())}
		}
		return h.conceal(r.GetStatusInfo()), nil
	case <-h.done:
		return "", h.dead()
	case <-ctx.Done():
		return "", fmt.Errorf("status of SDK worker %s: %w", h.cfg.Name, context.Cause(ctx))
	}
}

// WorkerStatus is the stream on which a worker answers Status.
func (v *services) WorkerStatus(stream fnpb.BeamFnWorkerStatus_WorkerStatusServer) error {
	h, err := v.s.accept(stream)
	if h == nil || err != nil {
		return err
	}
	reqs := make(chan *fnpb.WorkerStatusRequest)
	c := &h.status
	c.mu.Lock()
	c.reqs = reqs // the newest stream counts
	if c.calls == nil {
		c.calls = map[string]chan *fnpb.WorkerStatusResponse{}
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		if c.reqs == reqs {
			c.reqs = nil
		}
		c.mu.Unlock()
	}()
	received := make(chan error, 1)
	go func() { received <- c.receive(stream) }()
	for {
		select {
		case r := <-reqs:
			if err := stream.Send(r); err != nil {
				return err
			}
		case err := <-received:
			return err
		case <-h.done:
			return nil
		}
	}
}

// receive routes status responses until the stream ends.
func (c *statusClient) receive(stream fnpb.BeamFnWorkerStatus_WorkerStatusServer) error {
	for {
		r, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		c.mu.Lock()
		answer := c.calls[r.GetId()]
		delete(c.calls, r.GetId())
		c.mu.Unlock()
		if answer != nil {
			answer <- r
		}
	}
}
