package operator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// lane runs one bundle at a time on one worker, which it keeps until the worker
// dies.
type lane struct {
	op   *Operator
	h    *fnapi.Harness
	uses int64     // workers that the lane has had
	redo []*flight // to be tried again, each in a bundle of its own
}

// connect gets a worker and tells it what to run.
func (l *lane) connect(ctx context.Context) error {
	if l.h != nil {
		select {
		case <-l.h.Done():
			l.disconnect()
		default:
			return nil
		}
	}
	h, err := l.op.pool.pool.Get(ctx)
	if err != nil {
		return err
	}
	h.AddDescriptor(l.op.desc)
	l.h = h
	l.uses++
	return nil
}

// disconnect gives the worker back.
func (l *lane) disconnect() {
	if l.h != nil {
		l.op.pool.pool.Put(l.h)
		l.h = nil
	}
}

// run runs bundles until the operator is closed.
func (l *lane) run() {
	defer l.disconnect()
	for {
		f := l.next()
		if f == nil {
			return
		}
		l.bundle(f)
	}
}

// next waits for the first flight of a bundle; nil at the end.
func (l *lane) next() *flight {
	if len(l.redo) > 0 {
		f := l.redo[0]
		l.redo = l.redo[1:]
		return f
	}
	select {
	case <-l.op.closing:
		return nil
	default:
	}
	select {
	case f := <-l.op.queue:
		return f
	case <-l.op.closing:
		return nil
	}
}

// bundle runs one bundle that begins with f.
func (l *lane) bundle(f *flight) {
	s := newSession(l.op, f)
	l.op.track(s, true)
	defer l.op.track(s, false)
	if err := l.connect(l.op.ctx); err != nil {
		l.op.answer(f, l.op.reason(err))
		return
	}
	b := bundle.Start(l.op.ctx, l.h, bundle.Spec{
		Descriptor:  l.op.desc.GetId(),
		Source:      s,
		Output:      s.output,
		DataOutputs: []string{sinkID},
		InputPort:   sourceID,
	})
	a := newAttempt(b)
	s.running.Store(a)
	result, err := b.Wait()
	l.op.metrics.end(a, result)
	if err == nil {
		err = s.complete()
		l.op.pool.pool.Succeeded(l.h)
	}
	if err != nil {
		l.failed(s.unanswered(), err)
	}
}

// failed decides what becomes of flights whose bundle has failed.
func (l *lane) failed(left []*flight, err error) {
	var sdk *fnapi.SDKError
	var dead *fnapi.DeadError
	isSDK, isDead := errors.As(err, &sdk), errors.As(err, &dead)
	if len(left) == 0 && !isDead && l.op.ctx.Err() == nil {
		l.op.fail(l.op.reason(err)) // there is no batch to say it with
	}
	for _, f := range left {
		switch {
		case isDead && l.op.ctx.Err() == nil:
			if f.attempts++; f.attempts >= l.op.limits.Attempts {
				l.op.answer(f, &WorkerError{Function: l.op.f.name(), Attempts: f.attempts, Cause: dead.Cause})
				continue
			}
		case isSDK && len(left) == 1:
			l.op.answer(f, &FunctionError{Function: l.op.f.name(), Traceback: sdk.Text})
			continue
		case !isSDK:
			l.op.answer(f, l.op.reason(err))
			continue
		}
		f.alone, f.result.Data = true, nil
		l.redo = append(l.redo, f)
	}
}

// session is the input and output of one bundle in a stream.
type session struct {
	op      *Operator
	first   int64         // the number of its first flight, the least
	wake    chan struct{} // something changed that Next waits for
	expired *time.Timer
	running atomic.Pointer[attempt]

	begin    *flight // not handed out yet
	elements int64
	bytes    int64
	alone    bool

	mu      sync.Mutex
	pending []*flight
	rest    []byte // the beginning of an element
}

func newSession(o *Operator, f *flight) *session {
	return &session{
		op: o, first: f.seq, begin: f, alone: f.alone,
		wake: make(chan struct{}, 1), expired: time.NewTimer(o.limits.BundleTime),
	}
}

// Next implements bundle.Source.
func (s *session) Next(ctx context.Context) (bundle.Chunk, error) {
	if f := s.begin; f != nil {
		s.begin = nil
		return s.hand(f), nil
	}
	for !s.full() {
		var queue <-chan *flight
		if s.room() {
			queue = s.op.queue
		}
		select {
		case f := <-queue:
			return s.hand(f), nil
		default:
		}
		if s.first <= s.op.barrier.Load() && len(s.op.queue) == 0 {
			break
		}
		select {
		case f := <-queue:
			return s.hand(f), nil
		case <-s.wake:
			continue
		case <-s.expired.C:
		case <-s.op.closing:
		case <-ctx.Done():
			return bundle.Chunk{}, context.Cause(ctx)
		}
		break
	}
	s.expired.Stop()
	return bundle.Chunk{}, io.EOF
}

// full says that the bundle takes no more input.
func (s *session) full() bool {
	l := &s.op.limits
	return s.alone || s.elements >= l.BundleElements || s.bytes >= l.BundleBytes
}

// room says whether another flight may go out before one is answered.
func (s *session) room() bool {
	if !s.op.long() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending) < s.op.limits.Ahead
}

// hand makes a chunk of a flight.
func (s *session) hand(f *flight) bundle.Chunk {
	f.missing = f.batch.Elements
	s.elements += f.batch.Elements
	s.bytes += int64(len(f.batch.Data))
	s.mu.Lock()
	s.pending = append(s.pending, f)
	s.mu.Unlock()
	return bundle.Chunk{
		Data: f.batch.Data, Elements: f.batch.Elements,
		Flush: s.op.long() || len(s.op.queue) == 0,
	}
}

// output implements bundle.Spec.Output: it answers flights, in order.
func (s *session) output(_ string, data []byte) error {
	if len(s.rest) > 0 {
		data = append(s.rest, data...)
		s.rest = nil
	}
	for len(data) > 0 {
		f := s.head()
		if f == nil {
			return errors.New("the function gave more output than the input asks for")
		}
		n, left, err := countFrames(data, f.missing, s.op.f.Match == EndMarked)
		if err != nil {
			return err
		}
		if n == 0 {
			s.rest = bytes.Clone(data)
			return nil
		}
		f.take(data[:n:n], left)
		if left == 0 {
			s.pop()
			s.op.answer(f, nil)
			notify(s.wake)
		}
		data = data[n:]
	}
	return nil
}

// take adds output to a flight. The first piece is not copied.
func (f *flight) take(data []byte, left int64) {
	if f.result.Data == nil {
		f.result.Data = data
	} else {
		f.result.Data = append(f.result.Data, data...)
	}
	f.missing = left
}

// head is the flight whose output comes next.
func (s *session) head() *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		return nil
	}
	return s.pending[0]
}

func (s *session) pop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = s.pending[1:]
}

// complete checks, at the end of a bundle, that everything was answered.
func (s *session) complete() error {
	if n := len(s.unanswered()); n > 0 {
		return errors.New("the function gave no output for " + strconv.Itoa(n) + " batches")
	}
	if len(s.rest) > 0 {
		return errors.New("the harness sent part of an element")
	}
	return nil
}

// unanswered returns the flights that have no result.
func (s *session) unanswered() []*flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begin != nil {
		return append([]*flight{s.begin}, s.pending...)
	}
	return s.pending
}
