package operator

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// timersPerBundle is how many timers fire in one bundle.
const timersPerBundle = 1000

// transactor runs bundles as transactions: what a bundle did takes effect when
// it has succeeded, all at once.
type transactor struct {
	*lane
	ahead *flight // a mark or a checkpoint that ended the bundle before it
	token [16]byte
	// uncached says that workers get no cache token.
	uncached atomic.Bool
}

// transaction is one bundle, which may be tried several times.
type transaction struct {
	*session
	t       *transactor
	flights []*flight
	timers  []Timer // that fire in it
	mark    *flight // at which they fire, else nil
	live    bool    // takes more from the queue
	given   int     // flights handed out
	fired   bool    // timers handed out

	overlay *overlay
	out     map[string][]byte
	set     []Timer
}

// run runs bundles until the operator is closed.
func (t *transactor) run() {
	defer t.disconnect()
	_, _ = rand.Read(t.token[:]) // never fails, see crypto/rand
	for {
		f := t.ahead
		t.ahead = nil
		if f == nil {
			f = t.next()
		}
		switch {
		case f == nil:
			return
		case t.op.Err() != nil:
			t.op.answer(f, t.op.Err())
		case f.sync:
			t.checkpoint(f)
		case f.result.Mark != nil:
			t.fire(f)
		default:
			t.input(f)
		}
	}
}

// input runs a bundle of batches that begins with f.
func (t *transactor) input(f *flight) {
	x := t.begin(f)
	x.live = true
	x.add(f)
	err := t.transact(x)
	t.op.track(x.session, false)
	for _, f := range x.flights {
		t.op.answer(f, err)
	}
	if err != nil {
		t.op.fail(err)
	}
}

// checkpoint makes the state of the bundles so far durable.
func (t *transactor) checkpoint(f *flight) {
	err := t.op.backend.Sync()
	if err != nil {
		err = fmt.Errorf("checkpoint of %s: %w", t.op.f.name(), err)
		t.op.fail(err) // what is durable is not known
	}
	t.op.answer(f, err)
}

// fire runs bundles of the timers that are due at a mark, until there are none.
func (t *transactor) fire(f *flight) {
	m := f.result.Mark
	for {
		due, err := t.op.backend.Due(m.Domain, m.Time, timersPerBundle)
		if err == nil && len(due) > 0 {
			x := t.begin(f)
			x.timers, x.mark = due, f
			err = t.transact(x)
			t.op.track(x.session, false)
		}
		if err != nil {
			t.op.fail(err)
			t.op.answer(f, err)
			return
		}
		if len(due) == 0 {
			t.op.answer(f, nil)
			return
		}
	}
}

// begin makes a transaction that is tracked from now on.
func (t *transactor) begin(f *flight) *transaction {
	x := &transaction{session: newSession(t.op, f), t: t}
	t.op.track(x.session, true)
	return x
}

// transact tries a bundle until it succeeds, fails or has been tried too often,
// and commits it.
func (t *transactor) transact(x *transaction) error {
	for attempt := 1; ; attempt++ {
		err := t.try(x)
		var sdk *fnapi.SDKError
		var dead *fnapi.DeadError
		switch {
		case err == nil:
			return x.commit() // if that fails, the operator has failed
		case errors.As(err, &sdk):
			return &FunctionError{Function: t.op.f.name(), Traceback: sdk.Text}
		case !errors.As(err, &dead) || t.op.ctx.Err() != nil:
			return t.op.reason(err)
		case attempt >= t.op.limits.Attempts:
			return &WorkerError{Function: t.op.f.name(), Attempts: attempt, Cause: dead.Cause}
		}
		x.live = false // the same input again
	}
}

// commit hands the output to the flights, and then the changes of state and timers
// to the backend: a bundle whose output is not valid changes nothing.
func (x *transaction) commit() error {
	if rt := x.op.f.RowTimers; rt != nil {
		out, timers, err := rt.Split(x.out[sinkID])
		if err != nil {
			return fmt.Errorf("timers of %s: %w", x.op.f.name(), err)
		}
		x.out[sinkID] = out
		x.set = append(x.set, timers...)
	}
	if err := x.distribute(); err != nil {
		return err
	}
	if err := x.overlay.commit(x.changes()); err != nil {
		return fmt.Errorf("commit of a bundle of %s: %w", x.op.f.name(), err)
	}
	return nil
}

// try runs the bundle once.
func (t *transactor) try(x *transaction) error {
	if err := t.connect(t.op.ctx); err != nil {
		return err
	}
	x.reset()
	outputs := []string{sinkID}
	for _, s := range t.op.f.SideOutputs {
		outputs = append(outputs, sideID(s.Tag))
	}
	families := make([]bundle.TimerKey, len(t.op.f.Timers))
	for i, f := range t.op.f.Timers {
		families[i] = bundle.TimerKey{Transform: transformID, Family: f.Name}
	}
	protocol := t.op.f.States
	if protocol == nil {
		protocol = beamStates{}
	}
	b := bundle.Start(t.op.ctx, t.h, bundle.Spec{
		Descriptor:    t.op.desc.GetId(),
		Source:        x,
		State:         &stateServer{protocol, &BundleState{x.overlay, &t.uncached}},
		Output:        x.output,
		Timer:         x.timer,
		DataOutputs:   outputs,
		TimerFamilies: families,
		InputPort:     sourceID,
		CacheTokens:   t.cacheTokens(),
	})
	a := newAttempt(b)
	x.running.Store(a)
	result, err := b.Wait()
	t.op.metrics.end(a, result)
	if err == nil {
		t.op.pool.pool.Succeeded(t.h)
	}
	return err
}

// cacheTokens allow the worker to keep the state that it has seen: nobody else
// changes it. Another worker gets another token, for it may have kept something
// from before.
func (t *transactor) cacheTokens() []*fnpb.ProcessBundleRequest_CacheToken {
	if t.uncached.Load() {
		return nil
	}
	return []*fnpb.ProcessBundleRequest_CacheToken{{
		Type:  &fnpb.ProcessBundleRequest_CacheToken_UserState_{UserState: &fnpb.ProcessBundleRequest_CacheToken_UserState{}},
		Token: binary.BigEndian.AppendUint64(t.token[:], uint64(t.uses)),
	}}
}

// add takes a flight into the bundle.
func (x *transaction) add(f *flight) {
	x.flights = append(x.flights, f)
	x.elements += f.batch.Elements
	x.bytes += int64(len(f.batch.Data))
}

// reset forgets what an earlier attempt did.
func (x *transaction) reset() {
	x.given, x.fired, x.begin = 0, false, nil
	x.overlay = newOverlay(x.op.backend)
	x.out, x.set = map[string][]byte{}, nil
}

// Next implements bundle.Source.
func (x *transaction) Next(ctx context.Context) (bundle.Chunk, error) {
	if !x.fired && len(x.timers) > 0 {
		return x.fireNext(), nil
	}
	if x.given == len(x.flights) {
		if !x.live || x.full() {
			return bundle.Chunk{}, io.EOF
		}
		f, err := x.wait(ctx)
		if err != nil {
			return bundle.Chunk{}, err
		}
		x.add(f)
	}
	f := x.flights[x.given]
	x.given++
	return bundle.Chunk{
		Data: f.batch.Data, Elements: f.batch.Elements,
		Flush: x.given == len(x.flights) && len(x.op.queue) == 0,
	}, nil
}

// wait waits for another batch, or for the end of the bundle.
func (x *transaction) wait(ctx context.Context) (*flight, error) {
	for {
		select {
		case f := <-x.op.queue:
			return x.admit(f)
		default:
		}
		if x.first <= x.op.barrier.Load() {
			return nil, io.EOF
		}
		select {
		case f := <-x.op.queue:
			return x.admit(f)
		case <-x.wake:
		case <-x.expired.C:
			return nil, io.EOF
		case <-x.op.closing:
			return nil, io.EOF
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// admit keeps a mark or a checkpoint for after the bundle.
func (x *transaction) admit(f *flight) (*flight, error) {
	if f.result.Mark == nil && !f.sync {
		return f, nil
	}
	x.t.ahead = f
	return nil, io.EOF
}

// fireNext hands out the timers of the next family.
func (x *transaction) fireNext() bundle.Chunk {
	x.fired = true
	family := x.timers[0].Family
	c := bundle.Chunk{Transform: transformID, Family: family, Flush: true}
	var codec interface {
		Fire(dst []byte, t Timer, now int64) []byte
	} = x.op.f.RowTimers
	if family != "" {
		codec = x.op.codecs[family]
	} else {
		c.Transform = sourceID
	}
	n := 0
	for n < len(x.timers) && x.timers[n].Family == family {
		c.Data = codec.Fire(c.Data, x.timers[n], x.mark.result.Mark.Time)
		n++
	}
	x.timers = x.timers[:n] // the rest is still due
	return c
}

// output implements bundle.Spec.Output.
func (x *transaction) output(sink string, data []byte) error {
	if x.out[sink] == nil {
		x.out[sink] = data
		return nil
	}
	x.out[sink] = append(x.out[sink], data...)
	return nil
}

// timer implements bundle.Spec.Timer.
func (x *transaction) timer(_, family string, data []byte) error {
	codec := x.op.codecs[family]
	for len(data) > 0 {
		t, rest, err := codec.Decode(data)
		if err != nil {
			return err
		}
		t.Family = family
		x.set = append(x.set, t)
		data = rest
	}
	return nil
}

// changes are the timers that fired, which are clear now, and those that were
// set or cleared since.
func (x *transaction) changes() []Timer {
	all := make([]Timer, 0, len(x.timers)+len(x.set))
	for _, t := range x.timers {
		t.Clear = true
		all = append(all, t)
	}
	return append(all, x.set...)
}

// distribute checks the output and gives it to the batches.
func (x *transaction) distribute() error {
	for sink, data := range x.out {
		if n, _, err := countFrames(data, math.MaxInt64, false); err != nil || n < len(data) {
			return fmt.Errorf("%s: output %s: %w", x.op.f.name(), sink, errFrame)
		}
	}
	if x.mark != nil {
		x.mark.result.collect(x.out)
		return nil
	}
	last := x.flights[len(x.flights)-1]
	if x.op.f.Match == Loose {
		last.result.collect(x.out)
		return nil
	}
	data := x.out[sinkID]
	delete(x.out, sinkID)
	for _, f := range x.flights {
		n, left, err := countFrames(data, f.batch.Elements, x.op.f.Match == EndMarked)
		if err != nil {
			return err
		}
		if left > 0 {
			return fmt.Errorf("%s gave too little output", x.op.f.name())
		}
		f.result.Data, data = data[:n:n], data[n:]
	}
	if len(data) > 0 {
		return fmt.Errorf("%s gave more output than the input asks for", x.op.f.name())
	}
	last.result.collect(x.out)
	return nil
}

// collect adds output by sink to a result.
func (r *Result) collect(out map[string][]byte) {
	for sink, data := range out {
		if sink == sinkID {
			r.Data = append(r.Data, data...)
			continue
		}
		if r.Side == nil {
			r.Side = map[string][]byte{}
		}
		tag := sink[len(sinkID)+1:]
		r.Side[tag] = append(r.Side[tag], data...)
	}
}
