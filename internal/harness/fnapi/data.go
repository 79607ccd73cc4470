package fnapi

import (
	"context"
	"errors"
	"fmt"
	"io"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
)

// Data is the stream on which the elements and timers of all bundles of one
// worker go both ways.
func (v *services) Data(stream fnpb.BeamFnData_DataServer) error {
	h, err := v.s.accept(stream)
	if h == nil || err != nil {
		return err
	}
	received := make(chan error, 1)
	sent := make(chan error, 1)
	go func() { received <- h.receiveData(stream) }()
	go func() { sent <- h.writeData(stream) }()
	select {
	case err := <-received:
		h.dataLost(err)
		return nil
	case err := <-sent:
		if err != nil {
			h.dataLost(err)
			return nil
		}
	case <-h.done:
	}
	return linger(received)
}

// dataLost ends the harness if bundles are in flight, for their data may be
// incomplete. An idle worker may open another stream.
func (h *Harness) dataLost(err error) {
	h.mu.Lock()
	n := len(h.instructions)
	h.mu.Unlock()
	if n == 0 {
		return
	}
	if err == nil {
		err = errors.New("ended by the worker")
	}
	err = fmt.Errorf("its data stream was lost with %d bundles in flight: %w", n, err)
	if h.cfg.Explain != nil {
		err = h.cfg.Explain(err) // a process that ended loses this stream first, sometimes
	}
	h.Close(err)
}

// receiveData routes elements until the stream ends.
func (h *Harness) receiveData(stream fnpb.BeamFnData_DataServer) error {
	ctx := stream.Context()
	for {
		e, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		h.route(ctx, e)
	}
}

// route hands the parts of e to their instructions.
func (h *Harness) route(ctx context.Context, e *fnpb.Elements) {
	var (
		id string
		i  *Instruction
	)
	find := func(next string) *Instruction {
		if i == nil || next != id {
			id, i = next, h.instruction(next)
		}
		if i == nil {
			h.mu.Lock()
			h.dropped++
			h.mu.Unlock()
		}
		return i
	}
	for _, d := range e.GetData() {
		if i := find(d.GetInstructionId()); i != nil {
			i.push(ctx, Message{Transform: d.GetTransformId(), Data: d.GetData(), Last: d.GetIsLast()})
		}
	}
	for _, t := range e.GetTimers() {
		if i := find(t.GetInstructionId()); i != nil {
			i.push(ctx, Message{Transform: t.GetTransformId(), Family: t.GetTimerFamilyId(), Data: t.GetTimers(), Timer: true, Last: t.GetIsLast()})
		}
	}
}

// instruction finds an open instruction.
func (h *Harness) instruction(id string) *Instruction {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.instructions[id]
}

// writeData sends queued elements until the harness is closed. Only one data
// stream of a worker sends at a time, so that elements keep their order.
func (h *Harness) writeData(stream fnpb.BeamFnData_DataServer) error {
	ctx := stream.Context()
	select {
	case h.dataSender <- struct{}{}:
		defer func() { <-h.dataSender }()
	case <-h.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		var e *fnpb.Elements
		select {
		case e = <-h.terminators:
		case e = <-h.dataQ:
		case <-ctx.Done():
			return ctx.Err()
		case <-h.done:
			return h.flushTerminators(stream)
		}
		if err := stream.Send(e); err != nil {
			return err
		}
	}
}

// flushTerminators sends the end markers that still wait, so that the worker's
// threads of aborted bundles end.
func (h *Harness) flushTerminators(stream fnpb.BeamFnData_DataServer) error {
	for {
		select {
		case e := <-h.terminators:
			if err := stream.Send(e); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}
