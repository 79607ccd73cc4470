package operator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
)

// Batch is input of a function.
type Batch struct {
	// Data are whole elements, each with its length before it, see
	// AppendElement. It must not change until the result has been received.
	Data []byte
	// Elements is how many elements Data holds.
	Elements int64
	// Tag is for the caller; it comes back with the result.
	Tag any
}

// Result is what a function made of a batch.
type Result struct {
	// Batch is the batch that was sent; empty if Mark is set.
	Batch Batch
	// Data is the main output, whole elements like those of a batch. A function
	// whose output is matched loosely gives all output of a bundle with its
	// last batch.
	Data []byte
	// Side is the output of side outputs by tag, with a bundle's last batch.
	Side map[string][]byte
	// Mark is what Watermark or ProcessingTime was called with; Data and Side
	// are then the output of the timers that fired.
	Mark *Mark
	// Err is why there is no output: a *FunctionError, a *WorkerError, or that
	// the operator was closed.
	Err error
}

// Mark is a point in time in the sequence of batches.
type Mark struct {
	Domain Domain
	// Time is in milliseconds since the Unix epoch.
	Time int64
}

// Operator runs one function. Its methods may be called concurrently; the order
// of batches is that of the calls of Send.
type Operator struct {
	pool       *Pool
	f          Function
	desc       *fnpb.ProcessBundleDescriptor
	limits     Limits
	backend    Backend
	codecs     map[string]TimerCodec
	metrics    metrics
	ctx        context.Context // ends with the operator
	cancel     context.CancelFunc
	closing    chan struct{} // no more input
	wg         sync.WaitGroup
	queue      chan *flight // to the lanes
	order      chan *flight // to Receive
	receiving  chan *flight // the flight that Receive waits for
	barrier    atomic.Int64 // bundles with flights up to here end soon
	bytesFreed chan struct{}

	mu       sync.Mutex
	closed   bool
	failure  error
	seq      int64
	bytes    int64
	flights  map[int64]*flight
	sessions map[*session]struct{}
	ended    chan struct{} // a session ended; closed and replaced

	send sync.Mutex // keeps order and queue in the same order
}

// flight is a batch or a mark on its way.
type flight struct {
	seq      int64
	batch    Batch
	result   Result
	missing  int64 // groups of output
	attempts int
	alone    bool // has a bundle of its own
	done     chan struct{}
}

func newOperator(p *Pool, f Function, d *fnpb.ProcessBundleDescriptor, l Limits, b Backend) (*Operator, error) {
	o := &Operator{
		pool: p, f: f, desc: d, limits: l, backend: b,
		codecs:     map[string]TimerCodec{},
		closing:    make(chan struct{}),
		queue:      make(chan *flight, l.InFlight),
		order:      make(chan *flight, l.InFlight),
		receiving:  make(chan *flight, 1),
		bytesFreed: make(chan struct{}, 1),
		flights:    map[int64]*flight{},
		sessions:   map[*session]struct{}{},
		ended:      make(chan struct{}),
	}
	o.barrier.Store(-1)
	for _, t := range f.Timers {
		o.codecs[t.Name] = t.Codec
		if t.Codec != nil {
			continue
		}
		c, err := newBeamTimers(t.Domain)
		if err != nil {
			return nil, fmt.Errorf("timer family %q: %w", t.Name, err)
		}
		o.codecs[t.Name] = c
	}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	return o, nil
}

// start starts the lanes; the first one must get a worker.
func (o *Operator) start(ctx context.Context) error {
	for i := range o.limits.Bundles {
		l := &lane{op: o}
		if i == 0 {
			if err := l.connect(ctx); err != nil {
				return err
			}
		}
		o.wg.Add(1)
		go func() {
			defer o.wg.Done()
			if o.f.atomic() {
				(&transactor{lane: l}).run()
			} else {
				l.run()
			}
		}()
	}
	return nil
}

// Send takes a batch. It waits while more is on its way than the limits allow,
// until results have been received.
func (o *Operator) Send(ctx context.Context, b Batch) error {
	return o.enqueue(ctx, &flight{batch: b}, true)
}

// Watermark says that no more input before a time, in milliseconds since the
// Unix epoch, will come. Timers of event time up to it fire. The mark comes back
// as a result behind those of the batches before it.
func (o *Operator) Watermark(ctx context.Context, at int64) error {
	return o.mark(ctx, Mark{EventTime, at})
}

// ProcessingTime is like Watermark for timers of processing time.
func (o *Operator) ProcessingTime(ctx context.Context, now int64) error {
	return o.mark(ctx, Mark{ProcessingTime, now})
}

func (o *Operator) mark(ctx context.Context, m Mark) error {
	return o.enqueue(ctx, &flight{result: Result{Mark: &m}}, true)
}

// enqueue gives a flight to the lanes, and to Receive if it is ordered.
func (o *Operator) enqueue(ctx context.Context, f *flight, ordered bool) error {
	if o.f.OneElement && f.batch.Elements > 1 {
		return fmt.Errorf("%s takes batches of one element, not of %d", o.f.name(), f.batch.Elements)
	}
	f.done = make(chan struct{})
	f.result.Batch = f.batch
	if err := o.reserve(ctx, int64(len(f.batch.Data))); err != nil {
		return err
	}
	o.send.Lock()
	defer o.send.Unlock()
	if err := o.register(f); err != nil {
		o.release(f)
		return err
	}
	if ordered {
		select {
		case o.order <- f:
		case <-ctx.Done():
			o.drop(f)
			return context.Cause(ctx)
		case <-o.closing:
			o.drop(f)
			return ErrClosed
		}
	}
	if f.result.Mark != nil && !o.f.atomic() {
		o.endBundles(f.seq)
		o.answer(f, nil)
		return nil
	}
	if f.batch.Elements == 0 && f.result.Mark == nil {
		o.answer(f, nil)
		return nil
	}
	select {
	case o.queue <- f:
	case <-o.ctx.Done():
		o.answer(f, ErrClosed)
	}
	return nil
}

// register gives f its number.
func (o *Operator) register(f *flight) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	if o.failure != nil {
		return o.failure
	}
	o.seq++
	f.seq = o.seq
	o.flights[f.seq] = f
	return nil
}

// drop forgets a flight that was not sent.
func (o *Operator) drop(f *flight) {
	o.mu.Lock()
	delete(o.flights, f.seq)
	o.mu.Unlock()
	o.release(f)
}

// reserve waits for room for n bytes. One batch may be larger than the limit.
func (o *Operator) reserve(ctx context.Context, n int64) error {
	for {
		o.mu.Lock()
		if o.bytes == 0 || o.bytes+n <= o.limits.InFlightBytes {
			o.bytes += n
			o.mu.Unlock()
			return nil
		}
		o.mu.Unlock()
		select {
		case <-o.bytesFreed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-o.closing:
			return ErrClosed
		}
	}
}

// release gives the room of f back.
func (o *Operator) release(f *flight) {
	o.mu.Lock()
	o.bytes -= int64(len(f.batch.Data))
	o.mu.Unlock()
	notify(o.bytesFreed)
}

// answer ends a flight.
func (o *Operator) answer(f *flight, err error) {
	if err != nil {
		f.result.Data, f.result.Side, f.result.Err = nil, nil, err
	}
	o.mu.Lock()
	delete(o.flights, f.seq)
	o.mu.Unlock()
	close(f.done)
}

// Receive returns the next result, in the order of Send. It waits for one; the
// error is ctx's, or ErrClosed.
func (o *Operator) Receive(ctx context.Context) (Result, error) {
	var f *flight
	select {
	case f = <-o.receiving: // an earlier call gave up
	default:
		select {
		case f = <-o.order:
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		case <-o.closing:
			return o.receiveLast()
		}
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		o.receiving <- f
		return Result{}, context.Cause(ctx)
	}
	o.release(f)
	return f.result, nil
}

// receiveLast returns what was answered before the operator was closed.
func (o *Operator) receiveLast() (Result, error) {
	select {
	case f := <-o.order:
		<-f.done
		o.release(f)
		return f.result, nil
	default:
		return Result{}, ErrClosed
	}
}

// Call sends a batch and waits for its result, which Receive does not see. Calls
// may run at the same time.
func (o *Operator) Call(ctx context.Context, b Batch) (Result, error) {
	f := &flight{batch: b}
	if err := o.enqueue(ctx, f, false); err != nil {
		return Result{}, err
	}
	if !o.long() {
		o.endBundles(f.seq)
	}
	select {
	case <-f.done:
		o.release(f)
		return f.result, f.result.Err
	case <-ctx.Done():
		go func() { // the room is in use until the workers are done with it
			<-f.done
			o.release(f)
		}()
		return Result{}, context.Cause(ctx)
	}
}

// long says that results do not wait for the end of their bundle.
func (o *Operator) long() bool { return o.f.SelfFlushing && !o.f.atomic() }

// Flush waits until every batch that has been sent is answered, so that Receive
// has its result without waiting.
func (o *Operator) Flush(ctx context.Context) error {
	o.mu.Lock()
	upTo := o.seq
	waiting := slices.Collect(maps.Values(o.flights))
	o.mu.Unlock()
	if !o.long() {
		o.endBundles(upTo)
	}
	for _, f := range waiting {
		select {
		case <-f.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Checkpoint is Flush for an engine's barrier: the bundles have also ended, and
// state is durable. It fails if the operator has failed.
func (o *Operator) Checkpoint(ctx context.Context) error {
	o.mu.Lock()
	upTo := o.seq
	o.mu.Unlock()
	o.endBundles(upTo)
	if err := o.Flush(ctx); err != nil {
		return err
	}
	for {
		open, ended := o.bundlesUpTo(upTo)
		if !open {
			break
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	o.mu.Lock()
	err := o.failure
	o.mu.Unlock()
	if err != nil || !o.f.atomic() {
		return err
	}
	return o.backend.Sync()
}

// endBundles makes bundles with flights up to seq end when their input is dry.
func (o *Operator) endBundles(seq int64) {
	for {
		old := o.barrier.Load()
		if old >= seq || o.barrier.CompareAndSwap(old, seq) {
			break
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for s := range o.sessions {
		notify(s.wake)
	}
}

// bundlesUpTo reports whether bundles with flights up to seq are open, and what
// is closed when one ends.
func (o *Operator) bundlesUpTo(seq int64) (bool, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for s := range o.sessions {
		if s.first <= seq {
			return true, o.ended
		}
	}
	return false, o.ended
}

// track adds a session to those that are open, or takes it away.
func (o *Operator) track(s *session, open bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if open {
		o.sessions[s] = struct{}{}
		return
	}
	delete(o.sessions, s)
	close(o.ended)
	o.ended = make(chan struct{})
}

// fail makes all further calls fail with err.
func (o *Operator) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failure == nil {
		o.failure = err
	}
}

// Err returns why the operator has failed for good, or nil.
func (o *Operator) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failure
}

// Close ends the open bundles and gives up what is not answered by then. It does
// not stop workers, they are the pool's.
func (o *Operator) Close() {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		o.wg.Wait()
		return
	}
	o.closed = true
	o.mu.Unlock()
	close(o.closing)
	done := make(chan struct{})
	go func() {
		o.wg.Wait()
		close(done)
	}()
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
	o.cancel()
	<-done
	o.abandon()
	o.pool.forget(o)
}

// abandon answers what no lane has taken. Whoever sends later sees that the
// operator is closed.
func (o *Operator) abandon() {
	o.send.Lock()
	defer o.send.Unlock()
	for {
		select {
		case f := <-o.queue:
			o.answer(f, ErrClosed)
		default:
			return
		}
	}
}

// reason makes a caller's error of what a bundle failed with.
func (o *Operator) reason(err error) error {
	if o.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return ErrClosed
	}
	return fmt.Errorf("%s: %w", o.f.name(), err)
}

// notify sets a flag that a channel of capacity one stands for.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
