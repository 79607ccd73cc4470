package fnapi

import (
	"context"
	"errors"
	"fmt"
	"sync"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
)

// errInstructionClosed is returned by an Instruction that was closed.
var errInstructionClosed = errors.New("instruction is closed")

// StateHandler answers state requests of one instruction, one at a time and in
// order. The response needs no id. An error goes to the SDK as
// StateResponse.error. ctx ends when the instruction is closed. The response is
// sent after the call has returned, maybe even after the instruction is closed:
// it must not refer to memory that changes.
type StateHandler interface {
	State(ctx context.Context, req *fnpb.StateRequest) (*fnpb.StateResponse, error)
}

// Message is a piece of output of an instruction: data of a sink when Timer is
// false, else timers of a family. The bytes belong to the receiver.
type Message struct {
	Transform, Family string
	Data              []byte
	Timer             bool
	Last              bool
}

// Instruction is one process_bundle in flight on a harness. Its inbox holds
// what the worker sent for it until Next fetches it.
type Instruction struct {
	h  *Harness
	id string

	ctx    context.Context // ends with the instruction
	cancel context.CancelFunc
	wake   chan struct{} // something is in the inbox
	space  chan struct{} // the inbox was emptied

	mu       sync.Mutex
	inbox    []Message
	bytes    int
	response *fnpb.InstructionResponse // until Next takes it
	answered bool
	closed   bool

	handler    StateHandler
	stateQ     []stateCall
	stateBusy  bool
	stateIdle  *sync.Cond // stateBusy became false; L is &mu
	stateSpace chan struct{}
}

// Open registers a new instruction whose state requests go to state, which may
// be nil. The caller must Close it.
func (h *Harness) Open(state StateHandler) (*Instruction, error) {
	i := &Instruction{
		h:          h,
		handler:    state,
		wake:       make(chan struct{}, 1),
		space:      make(chan struct{}, 1),
		stateSpace: make(chan struct{}, 1),
	}
	i.stateIdle = sync.NewCond(&i.mu)
	i.ctx, i.cancel = context.WithCancel(context.Background())
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		i.cancel()
		return nil, h.dead()
	}
	i.id = h.newID()
	h.instructions[i.id] = i
	h.mu.Unlock()
	return i, nil
}

// ID returns the instruction id.
func (i *Instruction) ID() string { return i.id }

// Close forgets the instruction: what its worker still sends for it is
// dropped. It waits for a state request that is being handled; no other is.
func (i *Instruction) Close() {
	i.h.mu.Lock()
	delete(i.h.instructions, i.id)
	i.h.mu.Unlock()
	i.cancel()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	i.inbox, i.bytes = nil, 0
	for i.stateBusy {
		i.stateIdle.Wait()
	}
}

// Drain waits until all state requests that have come are answered.
func (i *Instruction) Drain() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for i.stateBusy {
		i.stateIdle.Wait()
	}
}

// Send queues the request that the instruction is about.
func (i *Instruction) Send(ctx context.Context, req *fnpb.InstructionRequest) error {
	req.InstructionId = i.id
	return i.h.sendControl(ctx, req)
}

// SendData queues elements for the worker; it blocks while the worker is slow
// to take them.
func (i *Instruction) SendData(ctx context.Context, e *fnpb.Elements) error {
	select {
	case i.h.dataQ <- e:
		return nil
	case <-i.h.done:
		return i.h.dead()
	case <-ctx.Done():
		return fmt.Errorf("send data to SDK worker %s: %w", i.h.cfg.Name, context.Cause(ctx))
	}
}

// Abandon queues e, the end markers of an instruction that the runner gave up,
// so that the worker does not wait for more input for ever. It never blocks.
func (i *Instruction) Abandon(e *fnpb.Elements) {
	select {
	case i.h.terminators <- e:
	default:
		i.h.srv.log.Warn("too many aborted bundles wait for their end", "worker", i.h.cfg.Name)
	}
}

// Next waits for output or for the response. It returns all messages that are
// there, in the order in which they came, in a slice that reuses buf, and the
// response once, which may come before the last output. It fails with a
// *DeadError when the worker dies.
func (i *Instruction) Next(ctx context.Context, buf []Message) ([]Message, *fnpb.InstructionResponse, error) {
	for {
		if msgs, resp := i.take(buf); len(msgs) > 0 || resp != nil {
			return msgs, resp, nil
		}
		select {
		case <-i.wake:
		case <-i.ctx.Done():
			return nil, nil, errInstructionClosed
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-i.h.done:
			// What came before the death counts.
			if msgs, resp := i.take(buf); len(msgs) > 0 || resp != nil {
				return msgs, resp, nil
			}
			return nil, nil, i.h.dead()
		}
	}
}

// take empties the inbox, handing buf in for the next messages.
func (i *Instruction) take(buf []Message) ([]Message, *fnpb.InstructionResponse) {
	clear(buf)
	i.mu.Lock()
	defer i.mu.Unlock()
	resp := i.response
	i.response = nil
	if len(i.inbox) == 0 {
		return buf[:0], resp
	}
	msgs := i.inbox
	i.inbox, i.bytes = buf[:0], 0
	notify(i.space)
	return msgs, resp
}

// respond delivers the response; only the first counts.
func (i *Instruction) respond(r *fnpb.InstructionResponse) {
	i.mu.Lock()
	if i.answered || i.closed {
		i.mu.Unlock()
		return
	}
	i.answered, i.response = true, r
	i.mu.Unlock()
	notify(i.wake)
}

// push delivers a message; it waits while the inbox is full, until the
// instruction is closed or ctx ends.
func (i *Instruction) push(ctx context.Context, m Message) {
	for {
		i.mu.Lock()
		if i.closed {
			i.mu.Unlock()
			return
		}
		if len(i.inbox) == 0 || (i.bytes < i.h.srv.opts.InboxBytes && len(i.inbox) < inboxMessagesMax) {
			i.inbox = append(i.inbox, m)
			i.bytes += len(m.Data)
			i.mu.Unlock()
			notify(i.wake)
			return
		}
		i.mu.Unlock()
		select {
		case <-i.space:
		case <-i.ctx.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// notify sets a flag that a channel of capacity one stands for.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
