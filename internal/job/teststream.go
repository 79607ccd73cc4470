package job

import (
	"errors"
	"fmt"
	"io"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/harness/teststream"
	"github.com/pharos-beam/pharos/internal/plan"
)

// nextTestEvent asks the service of a TestStream for its next event. The core
// asks for one at a time, so the stream has one user.
func (d *driver) nextTestEvent(stage int) {
	s := d.j.plan.Stages[stage]
	stream := d.streams[stage]
	if stream == nil {
		stream = teststream.New(s.TestStream.GetEndpoint().GetUrl(), testStreamTags(s))
		d.streams[stage] = stream
	}
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		event, err := stream.Next(d.ctx)
		if err == nil {
			err = takeTestEvent(s, event)
		}
		answer := core.TestEvent{Stage: stage, Event: event}
		if err != nil {
			answer.Event = nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			answer.Err = err.Error()
		}
		d.tell(answer)
	}()
}

// takeTestEvent checks an event that came from outside and makes it one of the
// stage: a script has been checked with its pipeline.
func takeTestEvent(s *plan.Stage, event *pipepb.TestStreamPayload_Event) error {
	var tag string
	switch e := event.GetEvent().(type) {
	case *pipepb.TestStreamPayload_Event_ElementEvent:
		tag = e.ElementEvent.GetTag()
	case *pipepb.TestStreamPayload_Event_WatermarkEvent:
		tag = e.WatermarkEvent.GetTag()
	case *pipepb.TestStreamPayload_Event_ProcessingTimeEvent:
		return nil
	default:
		return fmt.Errorf("the TestStream service at %s sent an event of an unknown kind", s.TestStream.GetEndpoint().GetUrl())
	}
	if core.TestStreamPort(s, tag) < 0 {
		return fmt.Errorf("the TestStream service at %s sent an event for output %q, which does not exist; the outputs are %q",
			s.TestStream.GetEndpoint().GetUrl(), tag, testStreamTags(s))
	}
	if s.PrefixEvents {
		plan.PrefixElements(event)
	}
	return nil
}

// testStreamTags are the tags of a TestStream's outputs.
func testStreamTags(s *plan.Stage) (tags []string) {
	for _, o := range s.Outputs {
		tags = append(tags, o.Port)
	}
	return tags
}

// closeTestStreams ends the connections to services, when nothing uses them any
// more.
func (d *driver) closeTestStreams() {
	for _, s := range d.streams {
		s.Close()
	}
}
