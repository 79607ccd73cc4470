package sim

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
)

// op is what a node does.
type op string

// The nodes. Keys and values are texts; what a DoFn does with an element
// depends on a hash of it, never on the order in which elements come.
const (
	create    op = "create"    // some elements, in one bundle
	read      op = "read"      // a bounded splittable source
	stream    op = "stream"    // an unbounded splittable source with watermark estimates
	events    op = "events"    // a TestStream
	alter     op = "alter"     // each element becomes some, maybe with another key
	expand    op = "expand"    // the same, by a splittable DoFn
	assign    op = "assign"    // other windows
	flatten   op = "flatten"   // several collections
	reshuffle op = "reshuffle" // no change
	digest    op = "digest"    // grouped, then a digest of the values of each pane
	explode   op = "explode"   // grouped, then the values again
	combine   op = "combine"   // sums of values by key
	count     op = "count"     // numbers the elements of a key and window by state
	buffer    op = "buffer"    // keeps elements in state, until a timer lets them go
	loop      op = "loop"      // a timer that sets itself again, some times
	inOrder   op = "inOrder"   // wants its input sorted by time, and looks that it is
	expire    op = "expire"    // keeps elements in state until the window expires
	side      op = "side"      // looks at a side input
	check     op = "check"     // takes notes
)

// elem is an element as the oracle and the SDK see it.
type elem struct {
	key, value string
	ts         timestamp.Time
	win        span
}

// node is a transform, with the collection that it puts out.
type node struct {
	id    string
	op    op
	in    []*node
	env   string
	n     int // a size, whatever it means to the op
	w     *windowing
	src   []elem // of sources: what they put out, in order
	rests int    // of streams: checkpoints itself after 1/rests of the elements; 0: never
	// finalize: asks for bundles to be finalized.
	finalize bool
	multimap bool // of a side input
	script   []event

	// What is known of the output.
	bounded bool
	late    bool // elements may come behind the watermark
	lossy   bool // elements may have been dropped as late: out is the most there can be
	times   bool // the timestamps are those that the oracle knows
	spans   bool // the windows are
	end     bool // nothing but a check may follow
	// pane says where the pane of every element comes from; empty if they may have
	// different ones.
	pane string
	out  []elem
	coll string // id in the pipeline
}

// event is an event of a TestStream.
type event struct {
	elems     []elem
	watermark timestamp.Time // if there are no elements and clock is zero
	clock     int64
}

// String is a line of a trace.
func (n *node) String() string {
	var in []string
	for _, i := range n.in {
		in = append(in, i.id)
	}
	return fmt.Sprintf("%s(%s) n=%d env=%s late=%v lossy=%v %d elements; %v", n.id, strings.Join(in, ","), n.n, n.env, n.late, n.lossy, len(n.out), n.w)
}

// pipe is a pipeline.
type pipe struct {
	nodes   []*node
	strats  []*windowing
	byID    map[string]*node
	late    bool // some source is
	virtual bool // has a TestStream
}

func (p *pipe) add(n *node) *node {
	n.id = fmt.Sprintf("%s%d", n.op, len(p.nodes))
	p.nodes = append(p.nodes, n)
	p.byID[n.id] = n
	return n
}

func (p *pipe) windowing(w windowing) *windowing {
	w.id = fmt.Sprintf("w%d", len(p.strats))
	p.strats = append(p.strats, &w)
	return &w
}

// hash mixes texts into a number.
func hash(parts ...string) uint32 {
	h := fnv.New32a()
	for _, s := range parts {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	x := h.Sum32()
	x ^= x >> 15
	return x * 0x2c1b3c6d >> 3
}

// proto builds the pipeline for the product.
func (p *pipe) proto() *pipepb.Pipeline {
	b := &builder{plantest.New()}
	c := b.Components
	c.Coders["lp"] = &pipepb.Coder{Spec: &pipepb.FunctionSpec{Urn: urn.CoderLengthPrefix}, ComponentCoderIds: []string{"bytes"}}
	a := c.Environments["a"]
	a.Capabilities = append(a.Capabilities, urn.SDFTruncateSizedRestrictions) // b cannot
	for _, w := range p.strats {
		c.WindowingStrategies[w.id] = w.proto()
	}
	for _, n := range p.nodes {
		n.coll = b.node(n)
	}
	return b.Pipeline.Pipeline
}

// builder adds nodes to a pipeline.
type builder struct{ *plantest.Pipeline }

// node adds a node and returns its output.
func (b *builder) node(n *node) string {
	switch n.op {
	case create:
		return b.pardo(n, n.id, b.Impulse(n.id+"/impulse"), "kv", &pipepb.ParDoPayload{})
	case read, stream:
		pairs := b.pardo(n, n.id+"/pairs", b.Impulse(n.id+"/impulse"), "kv", &pipepb.ParDoPayload{})
		return b.pardo(n, n.id, pairs, "kv", &pipepb.ParDoPayload{RestrictionCoderId: "bytes", RequestsFinalization: n.finalize})
	case events:
		raw := b.collection(n, "lp")
		b.Add(n.id+"/events", urn.TestStream, "", n.testStream(), nil, []string{raw})
		return b.pardo(n, n.id, raw, "kv", &pipepb.ParDoPayload{})
	case expand:
		return b.pardo(n, n.id, n.in[0].coll, "kv", &pipepb.ParDoPayload{RestrictionCoderId: "bytes"})
	case assign:
		out := b.collection(n, "kv")
		b.Add(n.id, urn.AssignWindows, n.env, &pipepb.WindowIntoPayload{WindowFn: n.w.proto().GetWindowFn()}, []string{n.in[0].coll}, []string{out})
		return out
	case flatten, reshuffle:
		out, u := b.collection(n, "kv"), urn.Flatten
		if n.op == reshuffle {
			u = urn.Reshuffle
		}
		b.Add(n.id, u, "", nil, b.inputs(n), []string{out})
		return out
	case digest, explode:
		group := b.collection(n, "gkv")
		b.Add(n.id+"/group", urn.GroupByKey, "", nil, b.inputs(n), []string{group})
		return b.pardo(n, n.id, group, "kv", &pipepb.ParDoPayload{})
	case combine:
		return b.combine(n)
	case side:
		access := urn.SideInputIterable
		if n.multimap {
			access = urn.SideInputMultimap
		}
		m := &pipepb.ParDoPayload{SideInputs: map[string]*pipepb.SideInput{"i1": {AccessPattern: &pipepb.FunctionSpec{Urn: access}}}}
		out := b.collection(n, "kv")
		b.Add(n.id, urn.ParDo, n.env, m, b.inputs(n), []string{out})
		return out
	}
	return b.pardo(n, n.id, n.in[0].coll, "kv", stateful(n.op))
}

func (b *builder) inputs(n *node) []string {
	var ids []string
	for _, in := range n.in {
		ids = append(ids, in.coll)
	}
	return ids
}

// collection adds a collection like the output of the node.
func (b *builder) collection(n *node, coder string) string {
	id := b.Windowed(coder, n.w.id)
	if !n.bounded {
		b.Unbounded(id)
	}
	return id
}

func (b *builder) pardo(n *node, id, in, coder string, m *pipepb.ParDoPayload) string {
	out := b.collection(n, coder)
	if m.RestrictionCoderId == "" && strings.HasSuffix(id, "/pairs") {
		b.Components.Pcollections[out].IsBounded = pipepb.IsBounded_BOUNDED
		b.Components.Pcollections[out].WindowingStrategyId = "global"
	}
	b.Add(id, urn.ParDo, n.env, m, []string{in}, []string{out})
	return out
}

// combine adds a combine with the expansion that SDKs give it.
func (b *builder) combine(n *node) string {
	m := &pipepb.CombinePayload{CombineFn: &pipepb.FunctionSpec{Urn: "sim:sum"}, AccumulatorCoderId: "bytes"}
	roots := b.RootTransformIds
	group, out := b.collection(n, "gkv"), b.collection(n, "kv")
	b.Add(n.id+"/group", urn.GroupByKey, "", nil, b.inputs(n), []string{group})
	b.Add(n.id+"/values", urn.CombineGroupedValues, n.env, m, []string{group}, []string{out})
	b.RootTransformIds = roots
	b.Add(n.id, urn.CombinePerKey, n.env, m, b.inputs(n), []string{out}).Subtransforms = []string{n.id + "/group", n.id + "/values"}
	return out
}

// Names of state cells and timer families.
const (
	cellValue   = "value"
	cellBag     = "bag"
	familyEvent = "event"
	familyClock = "clock"
)

// stateful is the payload of a ParDo, with the state and timers of the op.
func stateful(o op) *pipepb.ParDoPayload {
	m := &pipepb.ParDoPayload{}
	if o != count && o != buffer && o != loop && o != inOrder && o != expire {
		return m
	}
	bag := &pipepb.FunctionSpec{Urn: urn.StateBag}
	m.StateSpecs = map[string]*pipepb.StateSpec{
		cellValue: {Protocol: bag, Spec: &pipepb.StateSpec_ReadModifyWriteSpec{ReadModifyWriteSpec: &pipepb.ReadModifyWriteStateSpec{CoderId: "bytes"}}},
		cellBag:   {Protocol: bag, Spec: &pipepb.StateSpec_BagSpec{BagSpec: &pipepb.BagStateSpec{ElementCoderId: "bytes"}}},
	}
	switch o {
	case count:
		return m
	case inOrder:
		m.RequiresTimeSortedInput = true
		return m
	case expire:
		m.OnWindowExpirationTimerFamilySpec = familyEvent
	}
	m.TimerFamilySpecs = map[string]*pipepb.TimerFamilySpec{familyEvent: {TimeDomain: pipepb.TimeDomain_EVENT_TIME}}
	if o == buffer {
		m.TimerFamilySpecs[familyClock] = &pipepb.TimerFamilySpec{TimeDomain: pipepb.TimeDomain_PROCESSING_TIME}
	}
	return m
}

// testStream is the payload of a TestStream.
func (n *node) testStream() proto.Message {
	m := &pipepb.TestStreamPayload{CoderId: "lp"}
	for _, ev := range n.script {
		e := &pipepb.TestStreamPayload_Event{}
		switch {
		case ev.elems != nil:
			x := &pipepb.TestStreamPayload_Event_AddElements{}
			for _, el := range ev.elems {
				text := coder.AppendBytes(nil, []byte(el.key+"|"+el.value))
				x.Elements = append(x.Elements, &pipepb.TestStreamPayload_TimestampedElement{EncodedElement: text, Timestamp: int64(el.ts)})
			}
			e.Event = &pipepb.TestStreamPayload_Event_ElementEvent{ElementEvent: x}
		case ev.clock > 0:
			e.Event = &pipepb.TestStreamPayload_Event_ProcessingTimeEvent{
				ProcessingTimeEvent: &pipepb.TestStreamPayload_Event_AdvanceProcessingTime{AdvanceDuration: ev.clock}}
		default:
			e.Event = &pipepb.TestStreamPayload_Event_WatermarkEvent{
				WatermarkEvent: &pipepb.TestStreamPayload_Event_AdvanceWatermark{NewWatermark: int64(ev.watermark)}}
		}
		m.Events = append(m.Events, e)
	}
	return m
}

// kv encodes a pair of texts.
func kv(key, value string) []byte {
	return coder.AppendBytes(coder.AppendBytes(nil, []byte(key)), []byte(value))
}

// texts decodes n texts from the front of b.
func texts(b []byte, n int) ([]string, []byte, error) {
	var all []string
	for range n {
		s, used, err := coder.DecodeBytes(b)
		if err != nil {
			return nil, nil, err
		}
		all, b = append(all, string(s)), b[used:]
	}
	return all, b, nil
}

// grouped decodes KV<text, iterable<text>>.
func grouped(b []byte) (key string, values []string, err error) {
	k, b, err := texts(b, 1)
	if err != nil {
		return "", nil, err
	}
	if len(b) < 4 {
		return "", nil, fmt.Errorf("an iterable of %d bytes", len(b))
	}
	values, rest, err := texts(b[4:], int(binary.BigEndian.Uint32(b)))
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes behind an iterable", len(rest))
	}
	return k[0], values, err
}
