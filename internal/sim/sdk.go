package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan"
)

// The SDK executes bundles in this process, an element at a time.

// Errors of attempts that the simulation makes fail.
var (
	errUser    = errors.New("the DoFn failed")
	errDead    = errors.New("the worker is dead")
	errStopped = errors.New("nobody waits for the attempt any more")
)

// workers are the workers of one environment.
type workers struct {
	w    *world
	size int
	all  []*worker
}

// worker is one of them. A dead one is replaced by another.
type worker struct {
	// cache is the SDK's state cache: by token and cell.
	cache map[string][]byte
}

// Get implements job.Workers: the attempt that runs gets any.
func (s *workers) Get(context.Context) (job.Worker, error) {
	t := s.w.current
	t.worker = s.all[s.w.rng.IntN(len(s.all))]
	return &simWorker{t}, nil
}

func (s *workers) Put(job.Worker) {}

// Size implements job.Workers.
func (s *workers) Size() int { return s.size }

// MaxInput implements job.Workers.
func (s *workers) MaxInput() int64 { return s.w.cfg.maxInput }

// simWorker is a worker for one attempt.
type simWorker struct{ t *task }

// Start implements job.Worker.
func (s *simWorker) Start(ctx context.Context, _ *fnpb.ProcessBundleDescriptor, spec bundle.Spec) job.Bundle {
	t := s.t
	p := t.w.programs[t.ev.Stage]
	if t.ev.Truncate {
		p = p.truncation
	}
	b := &simBundle{w: t.w, t: t, ctx: ctx, spec: spec, p: p, stop: -1, done: make(chan struct{}), out: map[string][]byte{}}
	t.bundle = b
	return b
}

// program is a stage as the SDK sees it.
type program struct {
	stage     *plan.Stage
	input     *coder.Scanner
	elem      *coder.Coder
	consumers map[string][]*step // by collection
	sinks     map[string]string  // port by collection
	ports     []string
	// truncation is what is done to the input when the job is drained.
	truncation *program
	timers     map[[2]string]*coder.TimerScanner
	steps      map[string]*step
}

// step is a transform in a stage.
type step struct {
	id, urn string
	node    *node
	out     string // collection
	outName string
	inName  string
}

// newProgram reads a stage of a plan.
func newProgram(p *pipe, pl *plan.Plan, s *plan.Stage) (*program, error) {
	g := &program{stage: s, consumers: map[string][]*step{}, sinks: map[string]string{}, timers: map[[2]string]*coder.TimerScanner{}, steps: map[string]*step{}}
	var err error
	if g.elem, err = coder.Parse(pl.Coders, s.Input.Coder); err != nil {
		return nil, err
	}
	win, err := coder.Parse(pl.Coders, s.Input.WindowCoder)
	if err != nil {
		return nil, err
	}
	g.input = coder.NewScanner(g.elem, win)
	for _, o := range s.Outputs {
		g.sinks[o.Collection.ID] = o.Port
		g.ports = append(g.ports, o.Port)
	}
	for _, tm := range s.Timers {
		g.timers[[2]string{tm.Transform, tm.Family}] = coder.NewTimerScanner(g.elem.Components[0], win)
	}
	for _, id := range s.Steps {
		t := s.Descriptor.GetTransforms()[id]
		st := &step{id: id, urn: t.GetSpec().GetUrn(), node: p.nodeOf(pl, id)}
		if st.node == nil {
			return nil, fmt.Errorf("nobody knows the transform %s", id)
		}
		for local, c := range t.GetOutputs() {
			st.outName, st.out = local, c
		}
		sides := map[string]bool{}
		for _, si := range s.SideInputs {
			sides[si.Transform+"|"+si.Local] = true
		}
		for local, c := range t.GetInputs() {
			if !sides[id+"|"+local] {
				st.inName = local
				g.consumers[c] = append(g.consumers[c], st)
			}
		}
		g.steps[id] = st
	}
	if s.Truncation != nil {
		g.truncation = g.truncate(s.Truncation)
	}
	return g, nil
}

// truncate is the program that truncates what g processes.
func (g *program) truncate(t *plan.Truncation) *program {
	st := *g.consumers[g.stage.Input.ID][0]
	st.urn = urn.SDFTruncateSizedRestrictions
	for _, c := range t.Descriptor.GetTransforms()[st.id].GetOutputs() {
		st.out = c
	}
	return &program{
		stage: g.stage, input: g.input, elem: g.elem, consumers: map[string][]*step{g.stage.Input.ID: {&st}},
		sinks: map[string]string{st.out: t.OutputPort}, ports: []string{t.OutputPort},
	}
}

// nodeOf finds the node that a transform of a plan comes from.
func (p *pipe) nodeOf(pl *plan.Plan, id string) *node {
	if o := pl.Origin[id]; o != "" {
		id = o
	}
	for _, suffix := range []string{"", "/pairs", "/values", "/group"} {
		if n := p.byID[trim(id, suffix)]; n != nil {
			return n
		}
	}
	return nil
}

func trim(s, suffix string) string {
	if len(s) > len(suffix) && s[len(s)-len(suffix):] == suffix {
		return s[:len(s)-len(suffix)]
	}
	return s
}

// datum is an element inside the SDK, with its value encoded.
type datum struct {
	ts    timestamp.Time
	wins  []span
	pane  []byte
	value []byte
}

// single yields the element once for each of its windows.
func (d *datum) single(fn func(datum) error) error {
	for _, w := range d.wins {
		if err := fn(datum{d.ts, []span{w}, d.pane, d.value}); err != nil {
			return err
		}
	}
	return nil
}

// simBundle is a bundle on a worker.
type simBundle struct {
	w     *world
	t     *task
	ctx   context.Context
	spec  bundle.Spec
	p     *program
	queue []item // read from the source and not processed
	index int64  // elements begun
	stop  int64  // elements from this number on are not processed; -1: all are
	done  chan struct{}
	over  bool
	claim *claim // the restriction that is being processed
	out   map[string][]byte
	sums  sums
	roots []*fnpb.DelayedBundleApplication
	// touched are timers that this bundle has set, cleared or flushed, by key,
	// window, family and tag.
	touched  map[string]bool
	finalize bool
	ended    bool // processed to the end
}

// item is an element or a timer of the input.
type item struct {
	transform, family string
	raw               []byte
}

// Done implements job.Bundle.
func (b *simBundle) Done() <-chan struct{} { return b.done }

// Progress implements job.Bundle.
func (b *simBundle) Progress(context.Context) ([]*pipepb.MonitoringInfo, error) { return nil, nil }

// Finalize implements job.Bundle.
func (b *simBundle) Finalize(context.Context) error {
	if !b.finalize {
		b.w.fail("a bundle was finalized that had not asked for it")
	}
	b.finalize = false
	b.w.finalized++
	return nil
}

// Wait implements job.Bundle: it processes the bundle.
func (b *simBundle) Wait() (*bundle.Result, error) {
	defer func() { b.over = true; close(b.done) }()
	if err := b.process(); err != nil {
		return nil, err
	}
	// From here on the worker has done its work, and its answer is on its way.
	b.ended = true
	if err := b.pause(); err != nil {
		return nil, err
	}
	resp := &fnpb.ProcessBundleResponse{ResidualRoots: b.roots, RequiresFinalization: b.finalize}
	return &bundle.Result{Response: resp}, nil
}

func (b *simBundle) process() error {
	for {
		if err := b.pause(); err != nil {
			return err
		}
		more, err := b.read()
		if err != nil {
			return err
		}
		for len(b.queue) > 0 && (!more || b.w.rng.IntN(3) > 0) {
			if err := b.one(); err != nil {
				return err
			}
		}
		if !more {
			break
		}
	}
	if err := b.sums.flush(b); err != nil {
		return err
	}
	for _, port := range b.p.ports {
		if err := b.flush(port, len(b.out[port])); err != nil {
			return err
		}
	}
	return nil
}

// pause lets others go on.
func (b *simBundle) pause() error {
	if err := b.t.pause(); err != nil {
		return err
	}
	return context.Cause(b.ctx)
}

// read takes the next chunk of the input.
func (b *simBundle) read() (more bool, err error) {
	c, err := b.spec.Source.Next(b.ctx)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	n := int64(0)
	for data := c.Data; len(data) > 0; n++ {
		var used int
		if c.Family != "" {
			var e coder.TimerElement
			used, err = b.p.timers[[2]string{c.Transform, c.Family}].Scan(data, &e)
		} else {
			var e coder.Element
			used, err = b.p.input.Scan(data, &e)
		}
		if err != nil {
			return false, fmt.Errorf("the input of a bundle is malformed: %w", err)
		}
		b.queue = append(b.queue, item{c.Transform, c.Family, data[:used:used]})
		data = data[used:]
	}
	if n != c.Elements {
		b.w.fail("a chunk of %d elements says that it has %d", n, c.Elements)
	}
	return true, nil
}

// one processes the next item of the queue.
func (b *simBundle) one() error {
	it := b.queue[0]
	b.queue = b.queue[1:]
	if it.family != "" {
		return b.timer(it)
	}
	if b.stop >= 0 && b.index >= b.stop {
		return nil // given back
	}
	defer func() { b.index++ }()
	if err := b.pause(); err != nil {
		return err
	}
	if b.stop >= 0 && b.index >= b.stop {
		return nil
	}
	var e coder.Element
	if _, err := b.p.input.Scan(it.raw, &e); err != nil {
		return err
	}
	d := datum{ts: e.Timestamp, pane: e.Pane, value: e.Value}
	err := b.p.input.EachWindow(&e, func(w []byte) error {
		s, err := decodeSpan(w)
		d.wins = append(d.wins, s)
		return err
	})
	if err != nil {
		return err
	}
	return b.emit(b.p.stage.Input.ID, d)
}

// emit hands an element of a collection to all that read it, here and outside.
func (b *simBundle) emit(collection string, d datum) error {
	if len(d.pane) == 0 {
		d.pane = coder.NoFiring
	}
	for _, s := range b.p.consumers[collection] {
		if err := b.run(s, d); err != nil {
			return fmt.Errorf("%s: %w", s.id, err)
		}
	}
	port, ok := b.p.sinks[collection]
	if !ok || collection == b.p.stage.Input.ID {
		return nil
	}
	var wins []byte
	for _, w := range d.wins {
		wins = w.encode(wins)
	}
	b.out[port] = append(coder.AppendHeader(b.out[port], d.ts, wins, len(d.wins), d.pane), d.value...)
	if n := len(b.out[port]); b.w.rng.IntN(4) == 0 {
		return b.flush(port, 1+b.w.rng.IntN(n)) // anywhere, also within an element
	}
	return nil
}

// flush sends the first n bytes of an output.
func (b *simBundle) flush(port string, n int) error {
	if n == 0 {
		return nil
	}
	data := slices.Clone(b.out[port][:n])
	b.out[port] = slices.Clone(b.out[port][n:])
	return b.spec.Output(port, data)
}

// run executes one transform for one element.
func (b *simBundle) run(s *step, d datum) error {
	switch s.urn {
	case urn.SDFPairWithRestriction:
		return b.pair(s, d)
	case urn.SDFSplitAndSizeRestrictions:
		return b.splitAndSize(s, d)
	case urn.SDFProcessSizedElements:
		return b.restriction(s, d)
	case urn.SDFTruncateSizedRestrictions:
		return b.truncate(s, d)
	case urn.AssignWindows:
		return d.single(func(d datum) error {
			d.wins = s.node.w.assign(d.ts)
			return b.emit(s.out, d)
		})
	case urn.CombinePerKeyPrecombine:
		return d.single(func(d datum) error { return b.sums.add(s, d) })
	case urn.CombinePerKeyMergeAccumulators:
		return b.mergeSums(s, d)
	case urn.CombinePerKeyExtractOutputs:
		return b.emit(s.out, d) // accumulators are what comes out
	case urn.CombineGroupedValues:
		return b.combineValues(s, d)
	}
	return b.doFn(s, d)
}
