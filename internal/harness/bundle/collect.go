package bundle

import (
	"context"
	"errors"
	"fmt"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// output is one stream that the worker has to close.
type output struct {
	transform, family string
	timer, closed     bool
}

// outputs are the streams of a bundle. There are few, so they are searched.
type outputs struct {
	all  []output
	open int
	last int // index of the previous hit
}

func newOutputs(s *Spec) *outputs {
	o := &outputs{all: make([]output, 0, len(s.DataOutputs)+len(s.TimerFamilies))}
	for _, t := range s.DataOutputs {
		o.all = append(o.all, output{transform: t})
	}
	for _, k := range s.TimerFamilies {
		o.all = append(o.all, output{transform: k.Transform, family: k.Family, timer: true})
	}
	o.open = len(o.all)
	return o
}

// find returns the stream that m belongs to, nil when there is none.
func (o *outputs) find(m *fnapi.Message) *output {
	if o.last < len(o.all) && o.all[o.last].is(m) {
		return &o.all[o.last]
	}
	for i := range o.all {
		if o.all[i].is(m) {
			o.last = i
			return &o.all[i]
		}
	}
	return nil
}

func (o *output) is(m *fnapi.Message) bool {
	return o.timer == m.Timer && o.transform == m.Transform && o.family == m.Family
}

// close closes one stream; a second time does no harm.
func (o *outputs) close(s *output) {
	if !s.closed {
		s.closed = true
		o.open--
	}
}

// firstOpen describes a stream that is not closed.
func (o *outputs) firstOpen() string {
	for i := range o.all {
		switch s := &o.all[i]; {
		case s.closed:
		case s.timer:
			return fmt.Sprintf("timer family %q of %q", s.family, s.transform)
		default:
			return fmt.Sprintf("output %q", s.transform)
		}
	}
	return "nothing"
}

// collect takes the worker's output and response until the bundle is complete.
func (b *Bundle) collect(ctx context.Context) (*fnpb.ProcessBundleResponse, error) {
	var (
		outs = newOutputs(&b.spec)
		resp *fnpb.ProcessBundleResponse
		buf  []fnapi.Message
	)
	for resp == nil || outs.open > 0 {
		msgs, r, err := b.next(ctx, buf, resp != nil)
		if err != nil {
			if resp != nil && errors.Is(err, errUnclosed) {
				err = fmt.Errorf("the SDK answered that the bundle is done, but %s did not end within %v", outs.firstOpen(), b.spec.CloseTimeout)
			}
			return nil, err
		}
		for i := range msgs {
			if err := b.take(outs, &msgs[i]); err != nil {
				return nil, err
			}
		}
		buf = msgs
		if r == nil {
			continue
		}
		if resp, err = b.response(r); err != nil {
			return nil, err
		}
		if e := resp.GetElements(); e != nil {
			if err := b.takeEmbedded(outs, e); err != nil {
				return nil, err
			}
		}
	}
	return resp, nil
}

// errUnclosed is the cause of a wait for outputs that took too long.
var errUnclosed = errors.New("outputs were not closed")

// next waits for more; not for ever once the response is there.
func (b *Bundle) next(ctx context.Context, buf []fnapi.Message, answered bool) ([]fnapi.Message, *fnpb.InstructionResponse, error) {
	if answered {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, b.spec.CloseTimeout, errUnclosed)
		defer cancel()
	}
	return b.inst.Next(ctx, buf)
}

// response checks the SDK's answer.
func (b *Bundle) response(r *fnpb.InstructionResponse) (*fnpb.ProcessBundleResponse, error) {
	if r.GetError() != "" {
		return nil, &fnapi.SDKError{Text: r.GetError()}
	}
	p := r.GetProcessBundle()
	if p == nil {
		return nil, &fnapi.SDKError{Text: fmt.Sprintf("the SDK answered process_bundle with %T", r.GetResponse())}
	}
	return p, nil
}

// take hands one message on.
func (b *Bundle) take(outs *outputs, m *fnapi.Message) error {
	s := outs.find(m)
	if s == nil {
		return fmt.Errorf("the SDK sent %s, which the bundle does not have", describe(m))
	}
	if len(m.Data) > 0 {
		if s.closed {
			return fmt.Errorf("the SDK sent %d bytes of %s after its end", len(m.Data), describe(m))
		}
		if err := b.emit(m); err != nil {
			return err
		}
	}
	if m.Last {
		outs.close(s)
	}
	return nil
}

// emit calls the spec's function for m.
func (b *Bundle) emit(m *fnapi.Message) error {
	if m.Timer {
		if err := b.spec.Timer(m.Transform, m.Family, m.Data); err != nil {
			return fmt.Errorf("%s: %w", describe(m), err)
		}
		return nil
	}
	if err := b.spec.Output(m.Transform, m.Data); err != nil {
		return fmt.Errorf("%s: %w", describe(m), err)
	}
	return nil
}

// describe names the stream of m.
func describe(m *fnapi.Message) string {
	if m.Timer {
		return fmt.Sprintf("timers of family %q of %q", m.Family, m.Transform)
	}
	return fmt.Sprintf("output of %q", m.Transform)
}

// takeEmbedded takes the elements inside a response; they are all or nothing,
// so every stream ends with them.
func (b *Bundle) takeEmbedded(outs *outputs, e *fnpb.Elements) error {
	for _, d := range e.GetData() {
		m := fnapi.Message{Transform: d.GetTransformId(), Data: d.GetData(), Last: d.GetIsLast()}
		if err := b.take(outs, &m); err != nil {
			return err
		}
	}
	for _, t := range e.GetTimers() {
		m := fnapi.Message{Transform: t.GetTransformId(), Family: t.GetTimerFamilyId(), Data: t.GetTimers(), Timer: true, Last: t.GetIsLast()}
		if err := b.take(outs, &m); err != nil {
			return err
		}
	}
	for i := range outs.all {
		outs.close(&outs.all[i])
	}
	return nil
}
