package job_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/harness/teststream"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// eventService is a TestStreamService: events makes a stream's.
type eventService struct {
	tags   []string // of the last request
	events func(grpc.ServerStream) error
}

// serve starts the service and returns the payload of a TestStream that uses it.
func (s *eventService) serve(t *testing.T) *pipepb.TestStreamPayload {
	name, method, _ := strings.Cut(strings.TrimPrefix(teststream.Method, "/"), "/")
	url := ""
	serve(t, func(g *grpc.Server, addr string) {
		url = addr
		g.RegisterService(&grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
			StreamName: method, ServerStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error {
				var req emptypb.Empty
				if err := stream.RecvMsg(&req); err != nil {
					return err
				}
				s.tags = teststream.Tags(&req)
				return s.events(stream)
			},
		}}}, s)
	})
	return &pipepb.TestStreamPayload{Endpoint: &pipepb.ApiServiceDescriptor{Url: url}}
}

// sends sends events and then ends the stream with err.
func sends(err error, events ...*pipepb.TestStreamPayload_Event) func(grpc.ServerStream) error {
	return func(stream grpc.ServerStream) error {
		for _, e := range events {
			if err := stream.SendMsg(e); err != nil {
				return err
			}
		}
		return err
	}
}

// sessionScene groups a TestStream in sessions with a gap of ten seconds.
func sessionScene(t *testing.T, m *pipepb.TestStreamPayload) *scene {
	s := newScene(t)
	in := s.ParDo("key", "a", s.stream("stream", m), "kv")
	s.Components.Pcollections[in].WindowingStrategyId = "sessions"
	s.ParDo("panes", "b", s.Runner("gbk", urn.GroupByKey, "gkv", in), "bytes")
	s.do["key"], s.do["panes"] = s.keyed(true), s.panes("iw")
	return s
}

// Events of a service do what the same events in the pipeline do. Each has had
// all its effects before the next is taken.
func TestTestStreamService(t *testing.T) {
	events := []*pipepb.TestStreamPayload_Event{at(0, "a"), mark(20_000), at(21_000, "b"), mark(40_000), at(50_000, "c")}
	want := []string{
		"element a", "pane " + timestamp.Time(9_999).String() + " k: a",
		"element b", "pane " + timestamp.Time(30_999).String() + " k: b",
		"element c", "pane " + timestamp.Time(59_999).String() + " k: c",
	}
	scripted := sessionScene(t, script(events...))
	scripted.works(newRig(t))
	scripted.want(want...)
	service := &eventService{events: sends(nil, events...)}
	served := sessionScene(t, service.serve(t))
	served.works(newRig(t))
	served.want(want...)
	if !slices.Equal(service.tags, []string{"i0"}) {
		t.Errorf("asked for outputs %q", service.tags)
	}
}

// What has come takes effect while the service is silent.
func TestSilentTestStreamService(t *testing.T) {
	seen := make(chan struct{})
	service := &eventService{}
	s := sessionScene(t, service.serve(t))
	panes := s.do["panes"]
	s.do["panes"] = func(b *fakesdk.Bundle) error {
		defer close(seen)
		return panes(b)
	}
	service.events = func(stream grpc.ServerStream) error {
		if err := sends(nil, at(0, "a"), mark(20_000))(stream); err != nil {
			return err
		}
		<-seen // or the job's time is over
		return nil
	}
	s.works(newRig(t))
}

func TestTestStreamServiceThatFails(t *testing.T) {
	tagged := at(0, "x")
	tagged.GetElementEvent().Tag = "elsewhere"
	garbled := at(0, "x")
	garbled.GetElementEvent().Elements[0].EncodedElement = []byte{200, 1}
	for name, c := range map[string]struct {
		events func(grpc.ServerStream) error
		texts  []string
	}{
		"broken":         {sends(status.Error(codes.Unavailable, "the cable is cut"), at(0, "a")), []string{"transform stream", "failed after 1 events", "the cable is cut"}},
		"unknown output": {sends(nil, tagged), []string{"transform stream", `output "elsewhere"`, `"i0"`}},
		"unknown event":  {sends(nil, &pipepb.TestStreamPayload_Event{}), []string{"unknown kind"}},
		"no element":     {sends(nil, garbled), []string{"transform stream", "not an encoding of lp"}},
	} {
		t.Run(name, func(t *testing.T) {
			service := &eventService{events: c.events}
			st, msg := sessionScene(t, service.serve(t)).runs(newRig(t))
			if st != jobpb.JobState_FAILED {
				t.Errorf("state %v", st)
			}
			for _, text := range c.texts {
				if !strings.Contains(msg, text) {
					t.Errorf("%q does not say %q", msg, text)
				}
			}
		})
	}
}

func TestTestStreamServiceThatIsNotThere(t *testing.T) {
	m := &pipepb.TestStreamPayload{Endpoint: &pipepb.ApiServiceDescriptor{Url: "127.0.0.1:1"}}
	st, msg := sessionScene(t, m).runs(newRig(t))
	if st != jobpb.JobState_FAILED || !strings.Contains(msg, "127.0.0.1:1") {
		t.Errorf("%v: %s", st, msg)
	}
}

// A job that waits for a service can be cancelled, and drained.
func TestEndWhileAServiceIsSilent(t *testing.T) {
	for want, end := range map[jobpb.JobState_Enum]func(*job.Job){
		jobpb.JobState_CANCELLED: (*job.Job).Cancel, jobpb.JobState_DRAINED: (*job.Job).Drain,
	} {
		asked := make(chan struct{})
		service := &eventService{events: func(stream grpc.ServerStream) error {
			close(asked)
			<-stream.Context().Done()
			return nil
		}}
		s := sessionScene(t, service.serve(t))
		st, msg := newRig(t).runs(s.Pipeline.Pipeline, fakesdk.Config{Process: s.process}, func(j *job.Job) {
			<-asked
			end(j)
		})
		if st != want {
			t.Errorf("state %v, want %v: %s", st, want, msg)
		}
	}
}

// Several outputs: each has its elements, and its watermark.
func TestTestStreamOutputs(t *testing.T) {
	s := newScene(t)
	tagged := func(tag string, e *pipepb.TestStreamPayload_Event) *pipepb.TestStreamPayload_Event {
		if m := e.GetElementEvent(); m != nil {
			m.Tag = tag
		}
		if m := e.GetWatermarkEvent(); m != nil {
			m.Tag = tag
		}
		return e
	}
	outs := []string{s.Collection("lp"), s.Collection("lp")}
	s.Add("stream", urn.TestStream, "", &pipepb.TestStreamPayload{CoderId: "lp", Events: []*pipepb.TestStreamPayload_Event{
		tagged("i0", at(0, "left")), tagged("i1", at(0, "right")), tagged("i1", mark(20_000)), tagged("i0", at(1, "more")), tagged("i0", mark(20_000)),
	}}, nil, outs)
	for i, out := range outs {
		s.Unbounded(out)
		name := fmt.Sprint(i)
		in := s.ParDo("key "+name, "a", out, "kv")
		s.Components.Pcollections[in].WindowingStrategyId = "sessions"
		s.ParDo("panes "+name, "b", s.Runner("gbk "+name, urn.GroupByKey, "gkv", in), "bytes")
		s.do["key "+name] = s.keyed(true)
		s.do["panes "+name] = func(b *fakesdk.Bundle) error {
			return s.each(b, "gkv", "iw", func(e coder.Element) error {
				s.note("pane of %s %s", name, grouped(e.Value))
				return nil
			}, nil)
		}
	}
	s.works(newRig(t))
	s.want("element left", "element right", "pane of 1 k: right", "element more", "pane of 0 k: left more")
}
