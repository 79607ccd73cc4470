package job

import (
	"fmt"
	"log/slog"
	"sync/atomic"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/engine/reduce"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/window"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

// runner is what all bundles of a job share.
type runner struct {
	job     string
	log     *slog.Logger
	plan    *plan.Plan
	stages  []*stage
	shards  int
	blocks  *blocks
	store   store.Store
	workers map[string]Workers // by environment
	now     func() int64       // the clock of the workers, Unix ms
	tempDir string
	virtual bool  // processing time is a TestStream's
	durable bool  // the job outlives the process
	memory  int64 // budget of one grouping, bytes
	turns   turns // of groupings
	sides   *sideRoom

	streaming bool // the job says that it is a stream, whatever its inputs are
}

// stage is a plan.Stage with everything that its bundles need, parsed once.
type stage struct {
	plan       *plan.Stage
	descriptor *fnpb.ProcessBundleDescriptor // SDK stages, with an id of its own
	truncation *fnpb.ProcessBundleDescriptor // that of plan.Truncation, nil if there is none
	input      *collection                   // nil for Impulse and TestStream
	outputs    []*collection
	ports      map[string]int // output index by port
	sides      []*sideInput
	timers     map[timerKey]*timerFamily
	families   []timerKey
	multimaps  []*coder.Coder   // value coders of plan.Multimaps
	strategy   *window.Strategy // of the input
	reducer    *reduce.Reducer  // Group stages with the Reduce strategy
	merge      *mergeFn         // Group stages with a custom merging WindowFn
	failures   atomic.Int64     // attempts that failed
}

// collection is a plan.Collection with its coders parsed.
type collection struct {
	elem    *coder.Coder
	window  *coder.Coder
	kind    window.Kind
	scanner *coder.Scanner
}

type timerKey struct{ transform, family string }

// timerFamily is one family of timers of a stage.
type timerFamily struct {
	spec    *plan.Timer
	scanner *coder.TimerScanner
}

// prepare parses what the plan names.
func (r *runner) prepare(idPrefix string) error {
	for _, ps := range r.plan.Stages {
		r.virtual = r.virtual || ps.Kind == plan.TestStream
		s, err := r.prepareStage(ps, idPrefix)
		if err != nil {
			return fmt.Errorf("stage %s: %w", ps.Name, err)
		}
		r.stages = append(r.stages, s)
	}
	return nil
}

func (r *runner) prepareStage(ps *plan.Stage, idPrefix string) (*stage, error) {
	s := &stage{plan: ps, ports: map[string]int{}, timers: map[timerKey]*timerFamily{}}
	var err error
	if ps.Input != nil {
		if s.input, err = r.collection(ps.Input); err != nil {
			return nil, err
		}
		ws := r.plan.Windowings[ps.Input.Windowing]
		if s.strategy, err = window.Parse(ws, r.plan.Coders); err != nil {
			return nil, fmt.Errorf("windowing strategy of %s: %w", ps.Input.ID, err)
		}
	}
	for i, o := range ps.Outputs {
		c, err := r.collection(o.Collection)
		if err != nil {
			return nil, err
		}
		s.outputs = append(s.outputs, c)
		s.ports[o.Port] = i
	}
	for i, si := range ps.SideInputs {
		side, err := r.sideInput(ps, i, si)
		if err != nil {
			return nil, err
		}
		s.sides = append(s.sides, side)
	}
	if err := r.prepareTimers(s); err != nil {
		return nil, err
	}
	for _, m := range ps.Multimaps {
		c, err := coder.Parse(r.plan.Coders, m.ValueCoder)
		if err != nil {
			return nil, fmt.Errorf("state %s of %s: %w", m.State, m.Transform, err)
		}
		s.multimaps = append(s.multimaps, c)
	}
	if ps.Kind == plan.Group && ps.Group.Strategy == plan.Reduce {
		if s.reducer, err = r.newReducer(ps, s.strategy); err != nil {
			return nil, err
		}
	}
	if ps.Kind == plan.Group && ps.Group.MergeEnvironment != "" {
		if s.merge, err = r.newMergeFn(s, idPrefix); err != nil {
			return nil, err
		}
	}
	s.descriptor = ownDescriptor(ps.Descriptor, fmt.Sprintf("%s-%d", idPrefix, ps.Index))
	if ps.Truncation != nil {
		s.truncation = ownDescriptor(ps.Truncation.Descriptor, fmt.Sprintf("%s-%d-truncate", idPrefix, ps.Index))
	}
	return s, nil
}

// ownDescriptor returns a copy of the plan's with an id that is no other job's.
func ownDescriptor(d *fnpb.ProcessBundleDescriptor, id string) *fnpb.ProcessBundleDescriptor {
	if d == nil {
		return nil
	}
	d = proto.Clone(d).(*fnpb.ProcessBundleDescriptor)
	d.Id = id
	return d
}

// newReducer decides how triggers see the elements of a Group stage. In a batch
// job they see all of a bounded input at once. In a stream, elements come in
// bundles by accident, and triggers see one after another; a bounded input of a
// streaming job is made to look like that.
func (r *runner) newReducer(ps *plan.Stage, s *window.Strategy) (*reduce.Reducer, error) {
	red, err := reduce.New(s)
	if err != nil {
		return nil, err
	}
	switch {
	case !ps.Barrier:
		red.OneByOne()
	case r.streaming:
		red.Replay()
	}
	return red, nil
}

func (r *runner) prepareTimers(s *stage) error {
	for _, t := range s.plan.Timers {
		c, err := coder.Parse(r.plan.Coders, t.Coder)
		if err != nil {
			return fmt.Errorf("timer family %s of %s: %w", t.Family, t.Transform, err)
		}
		if len(c.Components) != 2 {
			return fmt.Errorf("timer family %s of %s: coder %s is not a timer coder", t.Family, t.Transform, t.Coder)
		}
		k := timerKey{t.Transform, t.Family}
		s.timers[k] = &timerFamily{spec: t, scanner: coder.NewTimerScanner(c.Components[0], c.Components[1])}
		s.families = append(s.families, k)
	}
	return nil
}

func (r *runner) collection(c *plan.Collection) (*collection, error) {
	elem, err := coder.Parse(r.plan.Coders, c.Coder)
	if err != nil {
		return nil, fmt.Errorf("PCollection %s: %w", c.ID, err)
	}
	win, err := coder.Parse(r.plan.Coders, c.WindowCoder)
	if err != nil {
		return nil, fmt.Errorf("PCollection %s: %w", c.ID, err)
	}
	return &collection{elem: elem, window: win, kind: windowKinds[win.Kind], scanner: coder.NewScanner(elem, win)}, nil
}

// windowKinds are the kinds of window by that of their coder.
var windowKinds = map[coder.Kind]window.Kind{
	coder.GlobalWindow: window.Global, coder.IntervalWindow: window.Interval, coder.CustomWindow: window.Custom,
}

// environments returns the ids of the environments that stages run in.
func (r *runner) environments() map[string]*pipepb.Environment {
	used := map[string]*pipepb.Environment{}
	for _, s := range r.plan.Stages {
		if s.Kind == plan.SDK {
			used[s.Environment] = r.plan.Environments[s.Environment]
		}
		if s.Group != nil && s.Group.MergeEnvironment != "" {
			used[s.Group.MergeEnvironment] = r.plan.Environments[s.Group.MergeEnvironment]
		}
	}
	return used
}

// userOf names a transform that runs in an environment.
func (r *runner) userOf(env string) string {
	for _, s := range r.plan.Stages {
		if s.Kind == plan.SDK && s.Environment == env || s.Group != nil && s.Group.MergeEnvironment == env {
			return s.Name
		}
	}
	return "unknown"
}

// maxInput is how many bytes of input a bundle of a stage may have, 0 if any.
// No block may be larger.
func (r *runner) maxInput(ps *plan.Stage) int {
	if w := r.workers[ps.Environment]; ps.Kind == plan.SDK && w != nil {
		return int(w.MaxInput())
	}
	return 0
}
