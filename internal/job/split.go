package job

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

const commitNone = commit.None

// splitTimeout is how long a harness may take to answer a split once the bundle
// is over. Without the answer its bundle is of no use. Before that it may take as
// long as it likes: a worker of one thread, as TypeScript's, may answer only
// between elements, and one element may take for ever.
var splitTimeout = time.Minute // a variable for tests

// splitGrace is how long a bundle may go on after its harness has failed to
// split it: if it ends, how it ends is what counts.
const splitGrace = 100 * time.Millisecond

// splitter gives back parts of a running bundle. What is shared with others
// goes to the core at once, see share.go; the rest becomes part of the bundle's
// own record: never before the primary commits.
type splitter struct {
	a      *attempt
	tell   func(core.Event)
	cancel context.CancelCauseFunc // of the attempt
	mu     sync.Mutex              // also guards the attempt's transaction
	b      Bundle
	asked  sync.WaitGroup // splits without an answer yet
	source *chunks
	roots  []*fnpb.DelayedBundleApplication
	kept   bool    // a part is given back by the record
	shared *shared // what remains after parts were shared; nil: all
	err    error
}

func newSplitter(a *attempt) *splitter { return &splitter{a: a} }

func (s *splitter) running(b Bundle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b = b
}

// ended is called when the bundle has ended. It waits for the answers to
// splits: the harness may have given elements back in an answer that came just
// before its response, and they must get into the record.
func (s *splitter) ended() {
	s.mu.Lock()
	s.b = nil
	s.mu.Unlock()
	s.asked.Wait()
}

// ask returns the bundle if it may be split; then answered must be called.
func (s *splitter) ask() Bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.b != nil {
		s.asked.Add(1)
	}
	return s.b
}

// progress asks the harness how far the bundle is; nil when it cannot tell.
func (s *splitter) progress(ctx context.Context) []*pipepb.MonitoringInfo {
	s.mu.Lock()
	b := s.b
	s.mu.Unlock()
	if b == nil {
		return nil
	}
	infos, err := b.Progress(ctx)
	if err != nil {
		return nil
	}
	return infos
}

// total is the number of elements of the bundle.
func (a *attempt) total() int64 {
	var n int64
	for _, l := range a.ev.Leases {
		for _, b := range l.Blocks {
			n += b.Count
		}
	}
	return n
}

// split asks the harness to give back what is beyond a fraction. A harness that
// cannot split, or a bundle that ends meanwhile, is no error.
func (s *splitter) split(ctx context.Context, fraction float64, share bool) {
	b := s.ask()
	if b == nil {
		return
	}
	defer s.asked.Done()
	ctx, cancel := untilAfter(ctx, b.Done(), splitTimeout)
	defer cancel()
	s.mu.Lock()
	estimate := s.input()
	s.mu.Unlock()
	resp, err := b.Split(ctx, fraction, estimate, nil)
	var refused *fnapi.SDKError
	if errors.As(err, &refused) {
		select {
		case <-b.Done():
			return // the SDK did not split, maybe because it was over
		case <-time.After(splitGrace):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		err = s.answered(resp, share)
	} else {
		// Nobody knows what the harness did with the elements.
		err = fmt.Errorf("split of a bundle: %w", err)
	}
	if err != nil {
		s.err = err
		s.cancel(err)
	}
}

// answered takes the answer to a split.
func (s *splitter) answered(resp *fnpb.ProcessBundleSplitResponse, share bool) (err error) {
	defer s.a.r.guard(&err)
	// What has gone into the record is not in the input of others: it would be
	// lost if this attempt failed and the next one had the rest only.
	if share && !s.kept {
		return s.share(resp)
	}
	return s.add(resp)
}

// untilAfter returns a context that ends some time after done is closed.
func untilAfter(ctx context.Context, done <-chan struct{}, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			cancel(context.DeadlineExceeded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// add notes the outcome of a split.
func (s *splitter) add(resp *fnpb.ProcessBundleSplitResponse) error {
	for _, c := range resp.GetChannelSplits() {
		if err := s.check(c, resp); err != nil {
			return err
		}
		s.stopAt(c.GetFirstResidualElement())
		s.kept = true
	}
	s.roots = append(s.roots, resp.GetResidualRoots()...)
	return nil
}

// check refuses a channel split that makes no sense, or by which elements would
// get lost.
func (s *splitter) check(c *fnpb.ProcessBundleSplitResponse_ChannelSplit, resp *fnpb.ProcessBundleSplitResponse) error {
	first := c.GetFirstResidualElement()
	// There is one input port, and the Java SDK does not name it.
	other := c.GetTransformId() != "" && c.GetTransformId() != s.source.port
	if other || first < 0 || c.GetLastPrimaryElement() >= first {
		return fmt.Errorf("the harness answered a split with an impossible channel split: %v", c)
	}
	gap := max(c.GetLastPrimaryElement(), -1)+1 < min(first, s.input())
	if gap && len(resp.GetResidualRoots()) == 0 && len(resp.GetPrimaryRoots()) == 0 {
		return fmt.Errorf("the harness answered a split with a gap between elements: %v", c)
	}
	return nil
}

// stopAt ends the bundle's input before element number first.
func (s *splitter) stopAt(first int64) {
	s.source.mu.Lock()
	defer s.source.mu.Unlock()
	if s.source.stop < 0 || first < s.source.stop {
		s.source.stop = first
	}
}

// residuals puts what was not processed into the record: roots from splits and
// from the SDK's own checkpoints, and whole elements beyond the split.
func (s *splitter) residuals(own []*fnpb.DelayedBundleApplication) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	for _, root := range append(s.roots, own...) {
		res, err := s.residual(root)
		if err != nil {
			return err
		}
		s.a.record.Residual = append(s.a.record.Residual, res)
	}
	if s.source.stop >= 0 && s.source.stop < s.input() {
		return s.rest(s.source.stop)
	}
	return nil
}

// residual makes an input block of one application.
func (s *splitter) residual(root *fnpb.DelayedBundleApplication) (commit.Residual, error) {
	app := root.GetApplication()
	if s.a.s.plan.Keyed {
		return commit.Residual{}, fmt.Errorf("residual of transform %s: splittable and stateful at once is not supported", app.GetTransformId())
	}
	block, err := s.application(app)
	if err != nil {
		return commit.Residual{}, err
	}
	res := commit.Residual{
		Block:   block,
		DelayMS: root.GetRequestedTimeDelay().AsDuration().Milliseconds(),
		Hold:    commit.None,
	}
	for _, w := range app.GetOutputWatermarks() {
		res.Estimate = true
		res.Hold = min(res.Hold, timestamp.FromTime(w.AsTime()))
	}
	return res, nil
}

// application makes a block of an element that the harness made.
func (s *splitter) application(app *fnpb.BundleApplication) (commit.Block, error) {
	var e coder.Element
	n, err := s.a.s.input.scanner.Scan(app.GetElement(), &e)
	if err != nil {
		return commit.Block{}, fmt.Errorf("residual of transform %s is not an element of its input: %w", app.GetTransformId(), err)
	}
	if n != len(app.GetElement()) {
		return commit.Block{}, fmt.Errorf("residual of transform %s has %d bytes too many", app.GetTransformId(), len(app.GetElement())-n)
	}
	if !s.a.s.plan.Splittable {
		return commit.Block{}, fmt.Errorf("residual of transform %s, which is not splittable", app.GetTransformId())
	}
	var block commit.Block
	b := newBuilder(s.a.r.blocks, false, func(made commit.Block) { block = made })
	if err := s.put(b, &e); err != nil {
		return commit.Block{}, err
	}
	return block, b.flush()
}

// put adds an element of the input to a builder.
func (s *splitter) put(b *builder, e *coder.Element) error {
	if s.a.s.plan.WindowedSides() {
		if err := b.noteEnds(s.a.s.input, e); err != nil {
			return err
		}
	}
	return b.add(e.Raw, e.Timestamp)
}

// rest puts the elements from index stop on back to the queue, but for those
// that were shared.
func (s *splitter) rest(stop int64) error {
	b := newBuilder(s.a.r.blocks, s.a.s.plan.Splittable || s.a.s.plan.Spread, func(b commit.Block) {
		s.a.record.Residual = append(s.a.record.Residual, commit.Residual{Block: b, Hold: commit.None})
	})
	b.limit = s.a.r.maxInput(s.a.s.plan)
	at, end := int64(0), s.input()
	for _, l := range s.a.ev.Leases {
		for _, block := range l.Blocks {
			from, to := max(at, stop), min(at+block.Count, end)
			// Others may be done with what is behind the end.
			if from < to {
				if err := s.copy(b, block, from-at, to-at); err != nil {
					return err
				}
			}
			at += block.Count
		}
	}
	return b.flush()
}

// copy adds the elements [from, to) of a block to a builder.
func (s *splitter) copy(b *builder, block commit.Block, from, to int64) error {
	data, err := s.a.r.blocks.get(block.ID)
	if err != nil {
		return fmt.Errorf("read block %d: %w", block.ID, err)
	}
	i := int64(0)
	return s.a.s.input.eachElement(data, func(e *coder.Element) error {
		if i++; i > from && i <= to {
			return s.put(b, e)
		}
		return nil
	})
}
