package fnapi_test

import (
	"context"
	"io"
	"strings"
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// echoState answers with the name of whose state it is.
type echoState string

func (e echoState) State(context.Context, *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	return &fnpb.StateResponse{Response: &fnpb.StateResponse_Get{Get: &fnpb.StateGetResponse{Data: []byte(e)}}}, nil
}

// old is a worker that does not say on its state stream who it is, with an
// instruction whose state answers name.
func old(t *testing.T, srv *fnapi.Server, name string) (*fnapi.Harness, *fnapi.Instruction) {
	t.Helper()
	h := srv.Expect(fnapi.WorkerConfig{Name: name, Traits: fnapi.Traits{AnonymousState: true}})
	t.Cleanup(func() { h.Close(nil) })
	i, err := h.Open(echoState(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return h, i
}

// nobody opens a state stream without a worker id.
func nobody(t *testing.T, cc *grpc.ClientConn) fnpb.BeamFnState_StateClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fakesdk.HangLimit)
	t.Cleanup(cancel)
	s, err := fnpb.NewBeamFnStateClient(cc).State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a state request for an instruction.
func ask(t *testing.T, s fnpb.BeamFnState_StateClient, instruction string) (*fnpb.StateResponse, error) {
	t.Helper()
	if err := s.Send(&fnpb.StateRequest{Id: "1", InstructionId: instruction}); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return s.Recv()
}

func TestAnonymousStateIsKnownByItsInstructions(t *testing.T) {
	srv, cc := serve(t)
	_, a := old(t, srv, "a")
	hb, b := old(t, srv, "b")
	s := nobody(t, cc)
	for range 2 {
		if r, err := ask(t, s, a.ID()); err != nil || string(r.GetGet().GetData()) != "a" {
			t.Fatalf("%v, %v", r, err)
		}
	}
	// It is that worker's stream now, and no other's.
	if r, err := ask(t, s, b.ID()); err != nil || !strings.Contains(r.GetError(), "no bundle") {
		t.Errorf("another worker's state: %v, %v", r, err)
	}
	// A bundle that has ended costs its request, not the stream.
	a.Close()
	if r, err := ask(t, s, a.ID()); err != nil || !strings.Contains(r.GetError(), "no bundle") {
		t.Errorf("an ended bundle's state: %v, %v", r, err)
	}
	if r, err := ask(t, nobody(t, cc), b.ID()); err != nil || string(r.GetGet().GetData()) != "b" {
		t.Errorf("the other worker: %v, %v", r, err)
	}
	id := b.ID()
	hb.Close(nil)
	if _, err := ask(t, nobody(t, cc), id); status.Code(err) == codes.OK {
		t.Error("a worker that is closed is admitted")
	}
}

func TestAnonymousStateOfStrangersIsRefused(t *testing.T) {
	srv, cc := serve(t)
	named := srv.Expect(fnapi.WorkerConfig{})
	defer named.Close(nil)
	i, err := named.Open(echoState("named"))
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if _, err := ask(t, nobody(t, cc), i.ID()); status.Code(err) != codes.Unauthenticated {
		t.Errorf("no worker may do without an id: %v", err)
	}
	_, o := old(t, srv, "old")
	for what, id := range map[string]string{
		"no instruction":             "",
		"one of a worker with an id": i.ID(),
		"a number":                   "1",
		"no token":                   ".1",
		"a wrong token":              strings.Repeat("0", 32) + ".1",
	} {
		_, err := ask(t, nobody(t, cc), id)
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "worker_id") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Neither do Control and Data open without an id.
	d, err := fnpb.NewBeamFnDataClient(cc).Data(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = d.Send(&fnpb.Elements{Data: []*fnpb.Elements_Data{{InstructionId: o.ID()}}})
	if _, err := d.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("Data: %v", err)
	}
	s := nobody(t, cc)
	_ = s.CloseSend()
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("a stream without requests: %v", err)
	}
}

func TestAnonymousStateStreamsThatWaitAreLimited(t *testing.T) {
	srv, cc := serve(t)
	old(t, srv, "old")
	for range fnapi.AnonymousWaitsMax {
		if _, err := nobody(t, cc).Header(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nobody(t, cc).Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one too many: %v", err)
	}
}

// What people get to see of a worker does not admit them to its state.
func TestInstructionTokensAreConcealed(t *testing.T) {
	srv, cc := serve(t)
	logs := make(chan *fnpb.LogEntry, 1)
	h := srv.Expect(fnapi.WorkerConfig{
		Traits: fnapi.Traits{AnonymousState: true},
		OnLog:  func(_ *fnapi.Harness, e *fnpb.LogEntry) { logs <- e },
	})
	defer h.Close(nil)
	i, err := h.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	token, number, ok := strings.Cut(i.ID(), ".")
	if !ok || len(token) != 32 {
		t.Fatalf("id %q", i.ID())
	}
	l, err := fnpb.NewBeamFnLoggingClient(cc).Logging(as(t, h.ID()))
	if err != nil {
		t.Fatal(err)
	}
	text := "Error processing instruction " + i.ID()
	if err := l.Send(&fnpb.LogEntry_List{LogEntries: []*fnpb.LogEntry{{InstructionId: i.ID(), Message: text, Trace: text}}}); err != nil {
		t.Fatal(err)
	}
	if e := <-logs; e.GetInstructionId() != number || e.GetMessage() != "Error processing instruction "+number || e.GetTrace() != e.GetMessage() {
		t.Errorf("logged %v", e)
	}
	c, err := fnpb.NewBeamFnControlClient(cc).Control(as(t, h.ID()))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(&fnpb.InstructionResponse{InstructionId: i.ID(), Error: text}); err != nil {
		t.Fatal(err)
	}
	if _, r, err := i.Next(t.Context(), nil); err != nil || strings.Contains(r.GetError(), token) {
		t.Errorf("answered %v, %v", r, err)
	}
}
