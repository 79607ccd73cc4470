package fakesdk

import (
	"fmt"
	"io"
	"slices"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
)

// Item is a piece of input.
type Item struct {
	Transform, Family string
	Data              []byte
	Timer, Last       bool
}

// key names a stream.
type key struct {
	transform, family string
	timer             bool
}

// Bundle is a bundle that the worker processes.
type Bundle struct {
	// ID is the instruction id.
	ID string
	// Request is what the runner sent.
	Request *fnpb.ProcessBundleRequest
	// Descriptor is the request's descriptor.
	Descriptor *fnpb.ProcessBundleDescriptor
	// Sources and Sinks are the remote ports in the descriptor, sorted.
	Sources, Sinks []string
	// Response is sent if the bundle succeeds.
	Response fnpb.ProcessBundleResponse
	// KeepOpen are sinks that are never closed.
	KeepOpen []string

	w        *Worker
	in       chan Item
	over     chan struct{}
	embedded []Item
	open     map[key]bool // input streams that have not ended
	timers   []key
	out      *fnpb.Elements
}

// prepare reads the descriptor.
func (b *Bundle) prepare() error {
	d, err := b.w.descriptor(b.Request.GetProcessBundleDescriptorId())
	if err != nil {
		return err
	}
	b.Descriptor = d
	b.open = map[key]bool{}
	for id, t := range d.GetTransforms() {
		switch t.GetSpec().GetUrn() {
		case "beam:runner:source:v1":
			b.Sources = append(b.Sources, id)
			b.open[key{transform: id}] = true
		case "beam:runner:sink:v1":
			b.Sinks = append(b.Sinks, id)
		case "beam:transform:pardo:v1":
			p := &pipepb.ParDoPayload{}
			if err := proto.Unmarshal(t.GetSpec().GetPayload(), p); err != nil {
				return err
			}
			for f := range p.GetTimerFamilySpecs() {
				k := key{id, f, true}
				b.timers = append(b.timers, k)
				b.open[k] = true
			}
		}
	}
	slices.Sort(b.Sources)
	slices.Sort(b.Sinks)
	if e := b.Request.GetElements(); e != nil {
		for _, d := range e.GetData() {
			b.embedded = append(b.embedded, Item{Transform: d.GetTransformId(), Data: d.GetData(), Last: d.GetIsLast()})
		}
		for _, t := range e.GetTimers() {
			b.embedded = append(b.embedded, Item{Transform: t.GetTransformId(), Family: t.GetTimerFamilyId(), Timer: true, Data: t.GetTimers(), Last: t.GetIsLast()})
		}
		return nil
	}
	_, err = b.w.dataStream()
	return err
}

// Worker returns the worker that processes the bundle.
func (b *Bundle) Worker() *Worker { return b.w }

// Next returns the next piece of input with data, io.EOF after all streams
// have ended.
func (b *Bundle) Next() (Item, error) {
	for len(b.open) > 0 {
		var i Item
		if len(b.embedded) > 0 {
			i, b.embedded = b.embedded[0], b.embedded[1:]
		} else {
			select {
			case i = <-b.in:
			case <-b.w.ctx.Done():
				return Item{}, io.ErrUnexpectedEOF
			}
		}
		k := key{i.Transform, i.Family, i.Timer}
		if !b.open[k] {
			return Item{}, fmt.Errorf("input for %+v, which is not open", k)
		}
		if i.Last {
			delete(b.open, k)
		}
		if len(i.Data) > 0 {
			return i, nil
		}
	}
	return Item{}, io.EOF
}

// Emit sends data of a sink.
func (b *Bundle) Emit(sink string, data []byte) error {
	return b.send(&fnpb.Elements{Data: []*fnpb.Elements_Data{{InstructionId: b.ID, TransformId: sink, Data: data}}})
}

// EmitTimers sends timers.
func (b *Bundle) EmitTimers(transform, family string, data []byte) error {
	return b.send(&fnpb.Elements{Timers: []*fnpb.Elements_Timers{{InstructionId: b.ID, TransformId: transform, TimerFamilyId: family, Timers: data}}})
}

// send sends or keeps elements.
func (b *Bundle) send(e *fnpb.Elements) error {
	if b.w.cfg.Embed {
		if b.out == nil {
			b.out = &fnpb.Elements{}
		}
		b.out.Data = append(b.out.Data, e.Data...)
		b.out.Timers = append(b.out.Timers, e.Timers...)
		return nil
	}
	return b.w.SendElements(e)
}

// closeOutputs ends all outputs.
func (b *Bundle) closeOutputs() {
	e := &fnpb.Elements{}
	for _, s := range b.Sinks {
		if !slices.Contains(b.KeepOpen, s) {
			e.Data = append(e.Data, &fnpb.Elements_Data{InstructionId: b.ID, TransformId: s, IsLast: true})
		}
	}
	for _, k := range b.timers {
		e.Timers = append(e.Timers, &fnpb.Elements_Timers{InstructionId: b.ID, TransformId: k.transform, TimerFamilyId: k.family, IsLast: true})
	}
	_ = b.send(e)
	b.Response.Elements = b.out
}

// State sends a state request of this bundle.
func (b *Bundle) State(req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	req.InstructionId = b.ID
	return b.w.StateRequest(req)
}

// Echo sends all data to all sinks and all timers back to their families.
func Echo(b *Bundle) error {
	for {
		i, err := b.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if i.Timer {
			if err := b.EmitTimers(i.Transform, i.Family, i.Data); err != nil {
				return err
			}
			continue
		}
		for _, s := range b.Sinks {
			if err := b.Emit(s, i.Data); err != nil {
				return err
			}
		}
	}
}

// Fail reads all input and fails with text.
func Fail(text string) func(*Bundle) error {
	return func(b *Bundle) error {
		for {
			if _, err := b.Next(); err != nil {
				return fmt.Errorf("%s", text)
			}
		}
	}
}

// Die breaks the connection in the middle of a bundle.
func Die(b *Bundle) error {
	_, _ = b.Next()
	b.w.Kill()
	return ErrSilent
}

// Hang never answers, and reads nothing.
func Hang(b *Bundle) error {
	<-b.w.ctx.Done()
	return ErrSilent
}

// Descriptor makes a descriptor with one source, sinks and timer families of
// one transform, for tests that do not care for coders.
func Descriptor(id, source string, sinks []string, transform string, families ...string) *fnpb.ProcessBundleDescriptor {
	port := func() []byte {
		b, _ := proto.Marshal(&fnpb.RemoteGrpcPort{CoderId: "c"})
		return b
	}
	d := &fnpb.ProcessBundleDescriptor{Id: id, Transforms: map[string]*pipepb.PTransform{}}
	if source != "" {
		d.Transforms[source] = &pipepb.PTransform{Spec: &pipepb.FunctionSpec{Urn: "beam:runner:source:v1", Payload: port()}}
	}
	for _, s := range sinks {
		d.Transforms[s] = &pipepb.PTransform{Spec: &pipepb.FunctionSpec{Urn: "beam:runner:sink:v1", Payload: port()}}
	}
	if len(families) > 0 {
		p := &pipepb.ParDoPayload{TimerFamilySpecs: map[string]*pipepb.TimerFamilySpec{}}
		for _, f := range families {
			p.TimerFamilySpecs[f] = &pipepb.TimerFamilySpec{}
		}
		b, _ := proto.Marshal(p)
		d.Transforms[transform] = &pipepb.PTransform{Spec: &pipepb.FunctionSpec{Urn: "beam:transform:pardo:v1", Payload: b}}
	}
	return d
}
