// Package plan turns a pipeline into an execution plan: stages that the engine
// schedules, the collections that travel between them, and for each stage that
// an SDK harness runs its ProcessBundleDescriptor.
package plan

import (
	"slices"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// Kind says who runs a stage, and how.
type Kind uint8

// The kinds of stage.
const (
	// Impulse emits one empty byte array in the global window, once.
	Impulse Kind = iota + 1
	// SDK is a fused stage that an SDK harness runs.
	SDK
	// Group is a GroupByKey, run by the runner itself.
	Group
	// TestStream replays the events of a TestStream transform.
	TestStream
)

// Plan is what a job executes. It is immutable once built.
type Plan struct {
	Stages       []*Stage                 // topological order; Stage.Index is the position
	Coders       map[string]*pipepb.Coder // the pipeline's coders and all wire coders
	Windowings   map[string]*pipepb.WindowingStrategy
	Environments map[string]*pipepb.Environment // those that some stage needs
	// Origin maps the ids of transforms that were made here, in descriptors, to
	// the pipeline's transform that they stand for. Others are the pipeline's.
	Origin map[string]string
}

// Collection is a PCollection as it travels between stages, with its wire
// coders: every coder that the runner cannot scan is length-prefixed.
type Collection struct {
	ID            string // the pipeline's PCollection id, or one made here
	Coder         string // wire coder id of the elements
	WindowCoder   string // wire coder id of the windows
	WindowedCoder string // coder id of windowed_value<Coder, WindowCoder>
	Windowing     string // windowing strategy id
	Bounded       bool
	inner         string // wire coder id of the elements inside an SDK
}

// Stage is the unit of scheduling.
type Stage struct {
	Index       int
	Name        string // for people: the user-visible names of what is fused
	Kind        Kind
	Environment string   // SDK stages: environment id
	Transforms  []string // leaf transform ids of the pipeline, topological order
	// Steps are the ids in Descriptor of what an SDK stage runs, topological
	// order.
	Steps      []string
	Input      *Collection // nil for Impulse and TestStream
	InputPort  string      // SDK: id of the data source transform in Descriptor
	Outputs    []*Output
	SideInputs []*SideInput
	Timers     []*Timer
	Multimaps  []*Multimap
	// Keyed: the input is KV and is sharded by encoded key, because of state,
	// timers or grouping.
	Keyed bool
	// Barrier: a bundle may only start when the input is complete (the input
	// watermark is at the end). A shard is then processed as a whole.
	Barrier bool
	// TimeSorted: elements of a key are fed in order of timestamp. That takes a
	// Barrier, or, if Streaming, waiting for the watermark.
	TimeSorted bool
	// Streaming: keyed, and the watermark moves while there is input, so elements
	// can be late, and windows expire.
	Streaming bool
	// Splittable: the stage starts with process_sized_elements_and_restrictions,
	// so its bundles can be split and can leave residuals.
	Splittable bool
	// Truncation of a splittable stage; nil if its SDK cannot truncate.
	Truncation *Truncation
	// Spread: the input passed a Reshuffle or the like, so its elements are to be
	// spread over workers even when they are few.
	Spread bool
	// Finalizes: an SDK transform asks for bundles to be finalized.
	Finalizes bool
	// ExpiryTimers: families of @OnWindowExpiration, by transform id.
	ExpiryTimers map[string]string
	Group        *GroupSpec // Group stages only
	// TestStream has its elements in the encoding of the outputs' wire coder.
	TestStream *pipepb.TestStreamPayload
	// PrefixEvents: the events that a TestStream service sends need PrefixElements.
	PrefixEvents bool
	// Descriptor has everything but the service addresses.
	Descriptor *fnpb.ProcessBundleDescriptor
	// Why says, in a sentence each, why the stage starts here and was not
	// fused with its producers.
	Why []string
}

// IsPort says whether a transform of the stage's descriptors is an end of a data
// channel.
func (s *Stage) IsPort(transform string) bool {
	if transform == "" {
		return false
	}
	if t := s.Truncation; t != nil && (transform == t.InputPort || transform == t.OutputPort) {
		return true
	}
	return transform == s.InputPort || slices.ContainsFunc(s.Outputs, func(o *Output) bool { return o.Port == transform })
}

// Output is a collection that leaves a stage.
type Output struct {
	// Port is, for an SDK stage, the id of the data sink transform in its
	// Descriptor; otherwise the local name of the output (TestStream: the tag).
	Port       string
	Collection *Collection
	Consumers  []Consumer // may be empty
}

// Consumer is where an output goes.
type Consumer struct {
	Stage int
	Side  int // -1: the main input; otherwise an index into that stage's SideInputs
}

// SideInput of an SDK stage.
type SideInput struct {
	Transform  string // id in Descriptor
	Local      string // local name of the input
	Collection *Collection
	Multimap   bool   // beam:side_input:multimap:v1, otherwise iterable
	KeyCoder   string // multimap: wire coder ids
	ValueCoder string
}

// Source reports whether the stage makes an unbounded collection of a bounded
// one: its restrictions are sources that do not end by themselves.
func (s *Stage) Source() bool {
	if !s.Splittable || !s.Input.Bounded {
		return false
	}
	// What it puts out counts: a side input of the stage may be unbounded too.
	for _, id := range s.Descriptor.GetTransforms()[s.Steps[0]].GetOutputs() {
		if s.Descriptor.GetPcollections()[id].GetIsBounded() == pipepb.IsBounded_UNBOUNDED {
			return true
		}
	}
	return false
}

// Taker is the id of the transform that takes the stage's input.
func (s *Stage) Taker() string {
	if s.Group != nil {
		return s.Group.Transform
	}
	return s.Steps[0]
}

// WindowedSides reports whether some side input grows while the stage runs, so
// that an element has to wait for the side inputs of its window.
func (s *Stage) WindowedSides() bool {
	for _, si := range s.SideInputs {
		if si.Collection != nil && !si.Collection.Bounded {
			return true
		}
	}
	return false
}

// Timer is a timer family of an SDK stage.
type Timer struct {
	Transform  string // id in Descriptor
	Family     string
	Processing bool   // processing time, otherwise event time
	Coder      string // id of the wire timer coder (beam:coder:timer:v1<key, window>)
}

// Multimap is multimap state of an SDK stage. The runner counts its values, so
// it must know their coder.
type Multimap struct {
	Transform  string // id in Descriptor
	State      string
	ValueCoder string // wire coder id
}

// Strategy is how a Group stage groups.
type Strategy uint8

// The strategies.
const (
	// Shuffle groups a complete input at once; each key and window fires once.
	Shuffle Strategy = iota + 1
	// Reduce groups incrementally with triggers, timers and holds.
	Reduce
)

// GroupSpec describes a Group stage.
type GroupSpec struct {
	Transform  string
	Strategy   Strategy
	Windowing  string // of the input
	KeyCoder   string // wire coder ids
	ValueCoder string
	// Paged: all that read the output understand beam:coder:state_backed_iterable:v1,
	// so that a large pane need not be in one piece.
	Paged bool
	// MergeEnvironment is the environment that merges windows of a custom
	// WindowFn, empty for the standard ones.
	MergeEnvironment string
}
