package job

import (
	"context"
	"fmt"
	"sync"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

const commitNone = commit.None

// splitTimeout is how long a harness may take to answer a split. Without the
// answer its bundle is of no use.
const splitTimeout = time.Minute

// splitter gives back parts of a running bundle. What it gives back becomes
// part of the bundle's own record: never before the primary commits.
type splitter struct {
	a      *attempt
	mu     sync.Mutex // also guards the attempt's transaction
	b      *bundle.Bundle
	asked  sync.WaitGroup // splits without an answer yet
	source *chunks
	roots  []*fnpb.DelayedBundleApplication
	err    error
}

func newSplitter(a *attempt) *splitter { return &splitter{a: a} }

func (s *splitter) running(b *bundle.Bundle) {
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
func (s *splitter) ask() *bundle.Bundle {
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

// split asks the harness to give back what is beyond each fraction. A harness
// that cannot split, or a bundle that ends meanwhile, is no error.
func (s *splitter) split(ctx context.Context, fractions []float64) {
	for _, f := range fractions {
		b := s.ask()
		if b == nil || !s.splitOnce(ctx, b, f) {
			return
		}
	}
}

func (s *splitter) splitOnce(ctx context.Context, b *bundle.Bundle, fraction float64) bool {
	defer s.asked.Done()
	ctx, cancel := context.WithTimeout(ctx, splitTimeout)
	defer cancel()
	resp, err := b.Split(ctx, fraction, s.a.total(), nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		// Nobody knows what the harness did with the elements.
		s.err = fmt.Errorf("split of a bundle: %w", err)
		return false
	}
	s.add(resp)
	return s.err == nil
}

// add notes the outcome of a split.
func (s *splitter) add(resp *fnpb.ProcessBundleSplitResponse) {
	s.roots = append(s.roots, resp.GetResidualRoots()...)
	for _, c := range resp.GetChannelSplits() {
		first := c.GetFirstResidualElement()
		// There is one input port, and the Java SDK does not name it.
		other := c.GetTransformId() != "" && c.GetTransformId() != s.source.port
		if other || first < 0 || c.GetLastPrimaryElement() >= first {
			s.err = fmt.Errorf("the harness answered a split with an impossible channel split: %v", c)
			return
		}
		s.source.mu.Lock()
		if s.source.stop < 0 || first < s.source.stop {
			s.source.stop = first
		}
		s.source.mu.Unlock()
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
		if err := s.residual(root); err != nil {
			return err
		}
	}
	if s.source.stop >= 0 && s.source.stop < s.a.total() {
		return s.rest(s.source.stop)
	}
	return nil
}

// residual puts one application back to the stage's input.
func (s *splitter) residual(root *fnpb.DelayedBundleApplication) error {
	app := root.GetApplication()
	var e coder.Element
	n, err := s.a.s.input.scanner.Scan(app.GetElement(), &e)
	if err != nil {
		return fmt.Errorf("residual of transform %s is not an element of its input: %w", app.GetTransformId(), err)
	}
	if n != len(app.GetElement()) {
		return fmt.Errorf("residual of transform %s has %d bytes too many", app.GetTransformId(), len(app.GetElement())-n)
	}
	if !s.a.s.plan.Splittable {
		return fmt.Errorf("residual of transform %s, which is not splittable", app.GetTransformId())
	}
	id, err := s.a.r.blocks.put(app.GetElement(), nil)
	if err != nil {
		return err
	}
	end := newBuilder(nil, false, nil)
	if s.a.s.plan.WindowedSides() {
		if err := end.noteEnds(s.a.s.input, &e); err != nil {
			return err
		}
	}
	res := commit.Residual{
		Block:   commit.Block{ID: id, Count: 1, Bytes: int64(len(app.GetElement())), Min: e.Timestamp, End: end.last},
		DelayMS: root.GetRequestedTimeDelay().AsDuration().Milliseconds(),
		Hold:    commit.None,
	}
	for _, w := range app.GetOutputWatermarks() {
		res.Estimate = true
		res.Hold = min(res.Hold, timestamp.FromTime(w.AsTime()))
	}
	if s.a.s.plan.Keyed {
		return fmt.Errorf("residual of transform %s: splittable and stateful at once is not supported", app.GetTransformId())
	}
	s.a.record.Residual = append(s.a.record.Residual, res)
	return nil
}

// rest puts the elements from index stop on back to the queue.
func (s *splitter) rest(stop int64) error {
	b := newBuilder(s.a.r.blocks, s.a.s.plan.Splittable || s.a.s.plan.Spread, func(b commit.Block) {
		s.a.record.Residual = append(s.a.record.Residual, commit.Residual{Block: b, Hold: commit.None})
	})
	b.limit = s.a.r.maxInput(s.a.s.plan)
	i := int64(0)
	for _, l := range s.a.ev.Leases {
		err := s.a.eachBlock(l, func(data []byte) error {
			return s.a.s.input.eachElement(data, func(e *coder.Element) error {
				if i++; i > stop {
					return b.add(e.Raw, e.Timestamp)
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	return b.flush()
}
