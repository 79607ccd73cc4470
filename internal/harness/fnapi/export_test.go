package fnapi

import (
	"context"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/protobuf/proto"
)

// AnonymousWaitsMax is a limit that a test reaches.
const AnonymousWaitsMax = anonymousWaitsMax

// RouteForTest routes e on a fresh harness with one instruction, "1", and
// checks that the instruction gets exactly what is addressed to it.
func RouteForTest(t *testing.T, e *fnpb.Elements) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h := NewServer(Options{}).Expect(WorkerConfig{})
	defer h.Close(nil)
	i, err := h.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	marker := &fnpb.Elements{Data: []*fnpb.Elements_Data{{InstructionId: i.ID(), TransformId: "the end of the test"}}}
	routed := make(chan struct{})
	go func() {
		defer close(routed)
		h.route(ctx, e)
		h.route(ctx, marker)
	}()
	got := &fnpb.Elements{}
	var buf []Message
	for done := false; !done; {
		msgs, resp, err := i.Next(ctx, buf)
		if err != nil || resp != nil {
			t.Fatalf("response %v, error %v", resp, err)
		}
		for _, m := range msgs {
			switch {
			case m.Transform == "the end of the test":
				done = true
			case m.Timer:
				got.Timers = append(got.Timers, &fnpb.Elements_Timers{InstructionId: i.ID(), TransformId: m.Transform, TimerFamilyId: m.Family, Timers: m.Data, IsLast: m.Last})
			default:
				got.Data = append(got.Data, &fnpb.Elements_Data{InstructionId: i.ID(), TransformId: m.Transform, Data: m.Data, IsLast: m.Last})
			}
		}
		buf = msgs
	}
	<-routed
	want := &fnpb.Elements{}
	for _, d := range e.GetData() {
		if d.GetInstructionId() == i.ID() {
			want.Data = append(want.Data, &fnpb.Elements_Data{InstructionId: i.ID(), TransformId: d.TransformId, Data: d.Data, IsLast: d.IsLast})
		}
	}
	for _, m := range e.GetTimers() {
		if m.GetInstructionId() == i.ID() {
			want.Timers = append(want.Timers, &fnpb.Elements_Timers{InstructionId: i.ID(), TransformId: m.TransformId, TimerFamilyId: m.TimerFamilyId, Timers: m.Timers, IsLast: m.IsLast})
		}
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
