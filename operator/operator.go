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

// size is how many bytes of output r holds.
func (r *Result) size() int64 {
	n := len(r.Data)
	for _, data := range r.Side {
		n += len(data)
	}
	return int64(n)
}

// Mark is a point in time in the sequence of batches.
type Mark struct {
	Domain Domain
	// Time is in milliseconds since the Unix epoch.
	Time int64
}

// Operator runs one function. Its methods may be called concurrently; the order
// of batches is that of the calls of Send. Those that wait stop when their context
// ends, and return its cause; those that need the operator to run return ErrClosed
// once it is closed.
type Operator struct {
	pool      *Pool
	f         Function
	desc      *fnpb.ProcessBundleDescriptor
	limits    Limits
	backend   Backend
	codecs    map[string]TimerCodec
	metrics   metrics
	ctx       context.Context // ends with the operator
	cancel    context.CancelFunc
	closing   chan struct{} // no more input
	wg        sync.WaitGroup
	queue     chan *flight  // to the lanes; never full, see reserve
	order     chan *flight  // to Receive; never full either
	receiving chan struct{} // one place, for the call of Receive that waits
	head      *flight       // what that waits for
	syncing   chan struct{} // one place, for the checkpoint that is in the queue
	barrier   atomic.Int64  // bundles with flights up to here end soon

	mu       sync.Mutex
	closed   bool
	failure  error
	seq      int64
	count    int           // flights that have room reserved
	bytes    int64         // that they hold
	freed    chan struct{} // closed when room is given back; nil if nobody waits
	flights  map[int64]*flight
	sessions map[*session]struct{}
	ended    chan struct{} // a session ended; closed and replaced
}

// flight is a batch or a mark on its way.
type flight struct {
	seq      int64
	batch    Batch
	result   Result
	missing  int64 // groups of output
	attempts int
	held     int64 // bytes of input, and of output when it is answered
	alone    bool  // has a bundle of its own
	sync     bool  // is a checkpoint
	done     chan struct{}
}

func newOperator(p *Pool, f Function, d *fnpb.ProcessBundleDescriptor, l Limits, b Backend) (*Operator, error) {
	o := &Operator{
		pool: p, f: f, desc: d, limits: l, backend: b,
		codecs:    map[string]TimerCodec{},
		closing:   make(chan struct{}),
		queue:     make(chan *flight, l.InFlight+1), // and a checkpoint
		order:     make(chan *flight, l.InFlight),
		receiving: make(chan struct{}, 1),
		syncing:   make(chan struct{}, 1),
		flights:   map[int64]*flight{},
		sessions:  map[*session]struct{}{},
		ended:     make(chan struct{}),
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
// until results have been received. If there is an error, which may be why the
// operator has failed, nothing of the batch has been taken.
func (o *Operator) Send(ctx context.Context, b Batch) error {
	return o.enqueue(ctx, &flight{batch: b}, true)
}

// Watermark says that no more input before a time, in milliseconds since the
// Unix epoch, will come. Timers of event time up to it fire. The mark comes back
// as a result behind those of the batches before it. It waits like Send.
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
	if err := o.f.checkBatch(&f.batch); err != nil {
		return err
	}
	f.result.Batch = f.batch
	if err := o.reserve(ctx, f); err != nil {
		return err
	}
	if err := o.push(f, ordered); err != nil {
		o.release(f)
		return err
	}
	if f.result.Mark != nil && !o.f.atomic() {
		o.endBundles(f.seq)
	}
	return nil
}

// push numbers f and hands it out. It does not wait: there is room for whatever
// has been reserved.
func (o *Operator) push(f *flight, ordered bool) error {
	f.done = make(chan struct{})
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
	if ordered {
		o.order <- f
	}
	if f.batch.Elements == 0 && !f.sync && (f.result.Mark == nil || !o.f.atomic()) {
		close(f.done) // no lane has anything to do
		return nil
	}
	o.flights[f.seq] = f
	o.queue <- f
	return nil
}

// reserve waits for room for f: for one more flight, and for its bytes beside what
// input and results hold. One batch may be larger than the limit.
func (o *Operator) reserve(ctx context.Context, f *flight) error {
	n := int64(len(f.batch.Data))
	for {
		o.mu.Lock()
		if o.count < o.limits.InFlight && (o.bytes == 0 || o.bytes+n <= o.limits.InFlightBytes) {
			o.count++
			o.bytes += n
			f.held = n
			o.mu.Unlock()
			return nil
		}
		if o.freed == nil {
			o.freed = make(chan struct{})
		}
		freed := o.freed
		o.mu.Unlock()
		select {
		case <-freed:
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
	defer o.mu.Unlock()
	o.count--
	o.bytes -= f.held
	if o.freed != nil {
		close(o.freed)
		o.freed = nil
	}
}

// answer ends a flight.
func (o *Operator) answer(f *flight, err error) {
	if err != nil {
		f.result.Data, f.result.Side, f.result.Err = nil, nil, err
	}
	n := f.result.size()
	o.mu.Lock()
	delete(o.flights, f.seq)
	f.held += n
	o.bytes += n
	o.mu.Unlock()
	close(f.done)
}

// Receive returns the next result, in the order of Send. It waits for one. After
// Close it returns what there is still, then ErrClosed.
func (o *Operator) Receive(ctx context.Context) (Result, error) {
	select {
	case o.receiving <- struct{}{}:
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
	defer func() { <-o.receiving }()
	if o.head == nil {
		f, err := o.nextInOrder(ctx)
		if err != nil {
			return Result{}, err
		}
		o.head = f // so that it is there for the next call if this one gives up
	}
	f := o.head
	select {
	case <-f.done:
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
	o.head = nil
	o.release(f)
	return f.result, nil
}

// nextInOrder waits for a flight whose result Receive returns.
func (o *Operator) nextInOrder(ctx context.Context) (*flight, error) {
	select {
	case f := <-o.order:
		return f, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-o.closing:
	}
	select {
	case f := <-o.order: // nothing is added any more
		return f, nil
	default:
		return nil, ErrClosed
	}
}

// Call sends a batch and waits for its result, which Receive does not see. Calls
// may run at the same time; together with what has been sent they keep to the
// limits, so a call may wait for results to be received. The error is also
// Result.Err. If it is ctx's, the function may see the batch nevertheless.
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
// has its result without waiting. Whether the batches have succeeded is for the
// results to say; Close answers all that is left, so there is nothing to wait for
// after it.
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
// what the backend has, see Backend.Sync, is the state after the batches that
// were sent before, and after none that is sent later. It fails with what the
// operator has failed with, and with ErrClosed if that is closed meanwhile; the
// state is then that of an earlier checkpoint. If ctx ends it may be either.
func (o *Operator) Checkpoint(ctx context.Context) error {
	if o.f.atomic() {
		return o.checkpoint(ctx)
	}
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
	defer o.mu.Unlock()
	if o.closed { // some of it may have been given up
		return ErrClosed
	}
	return o.failure
}

// checkpoint has the backend synced between two bundles: it goes through the
// queue like a batch, behind those that were sent before.
func (o *Operator) checkpoint(ctx context.Context) error {
	select {
	case o.syncing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-o.closing:
		return ErrClosed
	}
	f := &flight{sync: true}
	if err := o.push(f, false); err != nil {
		<-o.syncing
		return err
	}
	select {
	case <-f.done:
		<-o.syncing
		return f.result.Err
	case <-ctx.Done():
		go func() { // it is in the queue until then
			<-f.done
			<-o.syncing
		}()
		return context.Cause(ctx)
	}
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

// abandon answers what no lane has taken. Nothing is added to the queue of a
// closed operator.
func (o *Operator) abandon() {
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
