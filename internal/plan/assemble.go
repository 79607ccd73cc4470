package plan

import (
	"fmt"
	"maps"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// assembler writes down the stages that a fuser has found.
type assembler struct {
	*fuser
	g           *graph
	plan        *Plan
	collections map[string]*Collection
	// readers are those that read a collection, as main or side input.
	readers map[string][]Consumer
	// streamed are collections that a TestStream feeds.
	streamed map[string]bool
}

func assemble(g *graph, f *fuser) (*Plan, error) {
	a := &assembler{
		fuser: f, g: g,
		plan: &Plan{
			Windowings:   g.p.Windowings,
			Environments: map[string]*pipepb.Environment{},
			Origin:       map[string]string{},
		},
		collections: map[string]*Collection{},
		readers:     map[string][]Consumer{},
		streamed:    map[string]bool{},
	}
	a.markStreamed()
	a.sortCuts()
	for i, c := range a.cuts {
		s, err := a.stage(i, c)
		if err != nil {
			return nil, fmt.Errorf("stage %q: %w", stageName(c), err)
		}
		a.plan.Stages = append(a.plan.Stages, s)
	}
	for i, c := range a.cuts {
		if err := a.outputs(a.plan.Stages[i], c); err != nil {
			return nil, fmt.Errorf("stage %q: %w", stageName(c), err)
		}
	}
	for i, c := range a.cuts {
		if err := a.describeBundle(a.plan.Stages[i], c); err != nil {
			return nil, fmt.Errorf("stage %q: %w", stageName(c), err)
		}
		if err := a.describeTruncation(a.plan.Stages[i], c); err != nil {
			return nil, fmt.Errorf("stage %q: %w", stageName(c), err)
		}
	}
	a.plan.Coders = g.wire.Coders()
	return a.plan, nil
}

// sortCuts sorts stages topologically, by main and side inputs. They were made
// in an order that is almost that.
func (a *assembler) sortCuts() {
	at := map[*cut]int{}
	for i, c := range a.cuts {
		at[c] = i
	}
	after := make([][]int, len(a.cuts))
	for i, c := range a.cuts {
		for _, next := range c.next {
			after[at[next]] = append(after[at[next]], i)
		}
	}
	sorted := make([]*cut, 0, len(a.cuts))
	for _, i := range pipeline.Order(after) {
		sorted = append(sorted, a.cuts[i])
	}
	if len(sorted) < len(a.cuts) {
		panic("broken invariant: fusion made a cycle of stages")
	}
	a.cuts = sorted
}

func (a *assembler) markStreamed() {
	for _, n := range a.g.nodes {
		streamed := n.kind == pipeline.TestStream || slices.ContainsFunc(a.parts(n.in.Collection), func(c string) bool { return a.streamed[c] })
		for _, out := range n.outs {
			a.streamed[out.Collection] = streamed
		}
	}
}

// stage writes down everything of a stage but its outputs and descriptor.
func (a *assembler) stage(index int, c *cut) (*Stage, error) {
	s := &Stage{Index: index, Name: stageName(c), Environment: c.env, Why: c.why}
	for _, n := range c.nodes {
		if !slices.Contains(s.Transforms, n.origin) {
			s.Transforms = append(s.Transforms, n.origin)
		}
		if n.id != n.origin {
			a.plan.Origin[n.id] = n.origin
		}
	}
	if c.input != "" {
		var err error
		if s.Input, err = a.collection(c.input); err != nil {
			return nil, err
		}
		a.readers[c.input] = append(a.readers[c.input], Consumer{Stage: index, Side: -1})
	}
	switch first := c.nodes[0]; first.kind {
	case pipeline.Impulse:
		s.Kind = Impulse
	case pipeline.TestStream:
		s.Kind, s.TestStream, s.PrefixEvents = TestStream, first.testStream, first.prefixed
	case pipeline.GroupByKey:
		s.Kind = Group
		a.group(s, first)
	default:
		s.Kind = SDK
		return s, a.sdk(s, c)
	}
	return s, nil
}

// collection returns a collection as it travels between stages.
func (a *assembler) collection(id string) (*Collection, error) {
	if c := a.collections[id]; c != nil {
		return c, nil
	}
	proto := a.g.collections[id]
	inner, err := a.g.wireCoder(id)
	if err != nil {
		return nil, err
	}
	coderID := inner
	if a.g.paged[id] {
		coderID = a.g.paging(inner)
	}
	window := a.g.strategy(id).CoderID
	c := &Collection{
		ID: id, Coder: coderID, inner: inner, WindowCoder: window,
		WindowedCoder: a.g.wire.Windowed(coderID, window),
		Windowing:     proto.GetWindowingStrategyId(),
		Bounded:       proto.GetIsBounded() == pipepb.IsBounded_BOUNDED,
	}
	a.collections[id] = c
	return c, nil
}

func (a *assembler) components(coderID string) []string {
	return a.g.wire.Coders()[coderID].GetComponentCoderIds()
}

func (a *assembler) group(s *Stage, n *node) {
	kv := a.components(s.Input.Coder)
	strategy := a.g.strategy(s.Input.ID)
	s.Group = &GroupSpec{
		Transform: n.id, Strategy: a.strategyFor(s.Input), Windowing: s.Input.Windowing,
		KeyCoder: kv[0], ValueCoder: kv[1],
	}
	if strategy.CustomMerge {
		s.Group.MergeEnvironment = strategy.EnvironmentID
		a.plan.Environments[strategy.EnvironmentID] = a.g.p.Environment(strategy.EnvironmentID)
	}
	s.Keyed = true
	s.Group.Paged = a.g.paged[n.outs[0].Collection]
	// A bounded input is grouped as a whole also where its trigger may fire
	// early: panes then do not depend on how the input came in bundles.
	s.Barrier = s.Group.Strategy == Shuffle || !a.streaming(s.Input)
}

// strategyFor chooses how to group. Grouping all at once is right only where
// each key and window fires once, when all input is there.
func (a *assembler) strategyFor(in *Collection) Strategy {
	switch {
	case a.g.o.Strategy == Reduce, a.streaming(in), !a.g.strategy(in.ID).FiresOnce():
		return Reduce
	}
	return Shuffle
}

// streaming reports whether the watermark of a collection moves before it is
// complete.
func (a *assembler) streaming(c *Collection) bool {
	return !c.Bounded || slices.ContainsFunc(a.parts(c.ID), func(id string) bool { return a.streamed[id] })
}

// sdk writes down what is special about a stage that an SDK runs.
func (a *assembler) sdk(s *Stage, c *cut) error {
	a.plan.Environments[c.env] = a.g.p.Environment(c.env)
	for _, n := range c.nodes {
		for _, side := range n.sides {
			if err := a.sideInput(s, n, side); err != nil {
				return err
			}
		}
		if n.parDo.GetRequestsFinalization() {
			s.Finalizes = true
		}
	}
	first := c.nodes[0]
	s.Splittable = first.urn == urn.SDFProcessSizedElements
	s.Spread = a.g.redistributed(c.input)
	if first.parDo == nil || first.urn != urn.ParDo {
		return nil
	}
	s.Keyed = pipeline.Stateful(first.parDo)
	s.TimeSorted = first.parDo.GetRequiresTimeSortedInput()
	s.Streaming = s.Keyed && a.streaming(s.Input)
	s.Barrier = s.TimeSorted && !s.Streaming
	if s.Keyed {
		a.timers(s, first)
	}
	return nil
}

func (a *assembler) sideInput(s *Stage, n *node, side pipeline.Port) error {
	c, err := a.collection(side.Collection)
	if err != nil {
		return err
	}
	in := &SideInput{Transform: n.id, Local: side.Local, Collection: c}
	in.Multimap = n.parDo.GetSideInputs()[side.Local].GetAccessPattern().GetUrn() == urn.SideInputMultimap
	if in.Multimap {
		kv := a.components(c.Coder)
		in.KeyCoder, in.ValueCoder = kv[0], kv[1]
	}
	a.readers[c.ID] = append(a.readers[c.ID], Consumer{Stage: s.Index, Side: len(s.SideInputs)})
	s.SideInputs = append(s.SideInputs, in)
	return nil
}

func (a *assembler) timers(s *Stage, n *node) {
	families := n.parDo.GetTimerFamilySpecs()
	coderID := a.g.wire.Timer(a.components(s.Input.Coder)[0], s.Input.WindowCoder)
	for _, id := range slices.Sorted(maps.Keys(families)) {
		s.Timers = append(s.Timers, &Timer{
			Transform: n.id, Family: id, Coder: coderID,
			Processing: families[id].GetTimeDomain() == pipepb.TimeDomain_PROCESSING_TIME,
		})
	}
	if family := n.parDo.GetOnWindowExpirationTimerFamilySpec(); family != "" {
		s.ExpiryTimers = map[string]string{n.id: family}
	}
}

// outputs writes down what leaves a stage and who reads it.
func (a *assembler) outputs(s *Stage, c *cut) error {
	for _, n := range c.nodes {
		for _, out := range n.outs {
			consumers := a.consumers(out.Collection)
			if len(consumers) == 0 && s.Kind == SDK {
				continue
			}
			collection, err := a.collection(out.Collection)
			if err != nil {
				return err
			}
			port := out.Local
			if s.Kind == SDK {
				port = a.g.newID(fmt.Sprintf("sink-%d-%d", s.Index, len(s.Outputs)))
			}
			s.Outputs = append(s.Outputs, &Output{Port: port, Collection: collection, Consumers: consumers})
		}
	}
	return nil
}

// redistributed reports whether a collection has passed a redistribution since
// it left a stage.
func (g *graph) redistributed(collection string) bool {
	m := g.merged(collection)
	return m != nil && (m.t.Kind == pipeline.Redistribute || slices.ContainsFunc(m.ins, g.redistributed))
}

// consumers returns those that read a collection, itself or merged.
func (a *assembler) consumers(collection string) []Consumer {
	all := slices.Clone(a.readers[collection])
	for _, m := range a.g.merges {
		for _, in := range m.ins {
			if in == collection {
				all = append(all, a.consumers(m.out)...)
			}
		}
	}
	return all
}
