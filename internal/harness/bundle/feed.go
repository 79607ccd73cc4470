package bundle

import (
	"context"
	"fmt"
	"io"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// feeder sends the request and the input of one bundle.
type feeder struct {
	b      *Bundle
	max    int  // bytes per message
	limit  int  // bytes that the worker takes at most in a message; 0: any
	single bool // one message for all input

	msg   *fnpb.Elements // being filled
	size  int            // bytes of data in msg
	count int64          // elements of the input port in msg
	owned bool           // the last data entry of msg is a copy that may grow

	embed bool // the request is not sent yet, msg may go inside it
	ended bool // the end of the input has been sent
}

func newFeeder(b *Bundle) *feeder {
	t := b.h.Traits()
	f := &feeder{
		b:      b,
		max:    b.spec.MaxMessage,
		limit:  t.MaxMessageBytes,
		single: b.spec.SingleMessage || t.SingleMessage,
		msg:    &fnpb.Elements{},
		embed:  b.h.Has(urn.ProtocolControlRequestElementsEmbedding),
	}
	if f.max <= 0 {
		f.max = DefaultMaxMessage
	}
	if f.limit > 0 {
		f.max = min(f.max, f.limit)
	}
	return f
}

// run feeds until the source ends or ctx does.
func (f *feeder) run(ctx context.Context) error {
	if !f.embed {
		if err := f.request(ctx, nil); err != nil {
			return err
		}
	}
	for f.b.spec.Source != nil {
		c, err := f.b.spec.Source.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read the bundle's input: %w", err)
		}
		if err := f.chunk(ctx, c); err != nil {
			return err
		}
	}
	return f.finish(ctx)
}

// request sends process_bundle, with all the input inside if e is not nil.
func (f *feeder) request(ctx context.Context, e *fnpb.Elements) error {
	s := &f.b.spec
	f.embed = false
	err := f.b.inst.Send(ctx, &fnpb.InstructionRequest{
		Request: &fnpb.InstructionRequest_ProcessBundle{
			ProcessBundle: &fnpb.ProcessBundleRequest{
				ProcessBundleDescriptorId: f.b.lease.ID(),
				CacheTokens:               s.CacheTokens,
				Elements:                  e,
			},
		},
	})
	if err != nil {
		return err
	}
	f.b.requested.Store(true)
	return nil
}

// chunk adds c to the message and sends what is due.
func (f *feeder) chunk(ctx context.Context, c Chunk) error {
	if c.Transform == "" {
		c.Transform = f.b.spec.InputPort
	}
	if f.limit > 0 && len(c.Data)+f.overhead() > f.limit {
		return fmt.Errorf("an input of %d bytes for %q is more than the %d bytes that this SDK takes in one message", len(c.Data), c.Transform, f.limit)
	}
	if f.size > 0 && f.size+len(c.Data) > f.max && !f.single {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.add(&c)
	if f.single {
		if f.limit > 0 && f.size+f.overhead() > f.limit {
			return fmt.Errorf("the input of a bundle has more than the %d bytes that this SDK takes", f.limit)
		}
		return nil
	}
	if f.size >= f.max || c.Flush || (f.embed && f.size > embedBytesMax) {
		return f.flush(ctx)
	}
	return nil
}

// overhead is a generous estimate of what a message holds besides data.
func (f *feeder) overhead() int {
	return 4096 + 256*(len(f.msg.Data)+len(f.msg.Timers)+len(f.b.spec.TimerFamilies))
}

// add puts c into the message. Small chunks of one stream are copied together,
// for every entry costs the SDK something; large ones are not copied.
func (f *feeder) add(c *Chunk) {
	f.size += len(c.Data)
	if c.Family != "" {
		f.owned = false
		f.msg.Timers = append(f.msg.Timers, &fnpb.Elements_Timers{
			InstructionId: f.b.inst.ID(), TransformId: c.Transform, TimerFamilyId: c.Family, Timers: c.Data,
		})
		return
	}
	f.count += c.Elements
	if len(c.Data) == 0 {
		return
	}
	if n := len(f.msg.Data); n > 0 && (f.single || len(c.Data) < coalesceBytesMax) {
		if last := f.msg.Data[n-1]; last.TransformId == c.Transform && (f.single || len(last.Data) < coalesceBytesMax || f.owned) {
			f.grow(last, c.Data)
			return
		}
	}
	f.owned = false
	f.msg.Data = append(f.msg.Data, &fnpb.Elements_Data{
		InstructionId: f.b.inst.ID(), TransformId: c.Transform, Data: c.Data,
	})
}

// grow appends data to an entry, after copying what the source owns.
func (f *feeder) grow(last *fnpb.Elements_Data, data []byte) {
	if !f.owned {
		room := max(2*(len(last.Data)+len(data)), coalesceBytesMax)
		last.Data = append(make([]byte, 0, room), last.Data...)
		f.owned = true
	}
	last.Data = append(last.Data, data...)
}

// flush sends the message; the request goes first if it did not go yet.
func (f *feeder) flush(ctx context.Context) error {
	if f.embed {
		if err := f.request(ctx, nil); err != nil {
			return err
		}
	}
	if len(f.msg.Data) == 0 && len(f.msg.Timers) == 0 {
		f.sentAll()
		return nil
	}
	if err := f.b.inst.SendData(ctx, f.msg); err != nil {
		return err
	}
	f.sentAll()
	return nil
}

// sentAll counts what was sent and begins a new message.
func (f *feeder) sentAll() {
	f.b.sent.Add(f.count)
	f.msg, f.size, f.count, f.owned = &fnpb.Elements{}, 0, 0, false
}

// finish sends the rest with the end markers, inside the request if possible.
func (f *feeder) finish(ctx context.Context) error {
	ends := f.ends()
	if f.single && len(f.msg.Data) == 1 && len(ends.Data) == 1 && f.msg.Data[0].TransformId == ends.Data[0].TransformId {
		// One entry for data and end: see Traits.SingleMessage.
		f.msg.Data[0].IsLast = true
		ends.Data = nil
	}
	f.msg.Data = append(f.msg.Data, ends.Data...)
	f.msg.Timers = append(f.msg.Timers, ends.Timers...)
	if f.embed {
		if err := f.request(ctx, f.msg); err != nil {
			return err
		}
		f.sentAll()
		f.ended = true
		return nil
	}
	if err := f.flush(ctx); err != nil {
		return err
	}
	f.ended = true
	return nil
}

// ends returns the end markers of all inputs: Python wants them in entries
// without data.
func (f *feeder) ends() *fnpb.Elements {
	s, id := &f.b.spec, f.b.inst.ID()
	e := &fnpb.Elements{}
	if s.InputPort != "" {
		e.Data = []*fnpb.Elements_Data{{InstructionId: id, TransformId: s.InputPort, IsLast: true}}
	}
	perTransform := f.b.h.Traits().TimersEndPerTransform
	for i, k := range s.TimerFamilies {
		last := true
		if perTransform {
			// Every family must be mentioned, or the SDK does not close it;
			// but only the last one of a transform ends its timers.
			for _, later := range s.TimerFamilies[i+1:] {
				last = last && later.Transform != k.Transform
			}
		}
		e.Timers = append(e.Timers, &fnpb.Elements_Timers{
			InstructionId: id, TransformId: k.Transform, TimerFamilyId: k.Family, IsLast: last,
		})
	}
	return e
}

// unfinished reports, after run, whether the worker waits for more input.
func (f *feeder) unfinished() bool { return f.b.requested.Load() && !f.ended }
