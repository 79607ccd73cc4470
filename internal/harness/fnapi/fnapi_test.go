package fnapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server and a connection to it.
func serve(t testing.TB) (*fnapi.Server, *grpc.ClientConn) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := fnapi.NewServer(fnapi.Options{})
	srv.SetEndpoint(lis.Addr().String())
	g := grpc.NewServer(fnapi.ServerOptions()...)
	srv.Register(g)
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(lis) }()
	cc, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cc.Close()
		g.Stop()
		<-served
	})
	return srv, cc
}

// as returns a context that speaks for a worker.
func as(t testing.TB, id string) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), fakesdk.HangLimit)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, "worker_id", id)
}

func TestUnknownWorkersAreRefused(t *testing.T) {
	srv, cc := serve(t)
	h := srv.Expect(fnapi.WorkerConfig{})
	defer h.Close(nil)
	for name, c := range map[string]struct {
		ctx  context.Context
		want codes.Code
	}{
		"no id":      {t.Context(), codes.Unauthenticated},
		"unknown id": {as(t, h.ID()+"x"), codes.PermissionDenied},
	} {
		s, err := fnpb.NewBeamFnControlClient(cc).Control(c.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); status.Code(err) != c.want {
			t.Errorf("%s: Control: %v", name, err)
		}
		d, err := fnpb.NewBeamFnDataClient(cc).Data(c.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Recv(); status.Code(err) != c.want {
			t.Errorf("%s: Data: %v", name, err)
		}
		st, err := fnpb.NewBeamFnStateClient(cc).State(c.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); status.Code(err) != c.want {
			t.Errorf("%s: State: %v", name, err)
		}
		if _, err := fnpb.NewProvisionServiceClient(cc).GetProvisionInfo(c.ctx, &fnpb.GetProvisionInfoRequest{}); status.Code(err) != c.want {
			t.Errorf("%s: GetProvisionInfo: %v", name, err)
		}
	}
	select {
	case <-h.Ready():
		t.Error("the harness is ready")
	default:
	}
}

func TestFinishedWorkersEndPolitely(t *testing.T) {
	srv, cc := serve(t)
	h := srv.Expect(fnapi.WorkerConfig{})
	h.Close(nil)
	if srv.Workers() != 0 {
		t.Errorf("%d workers", srv.Workers())
	}
	s, err := fnpb.NewBeamFnControlClient(cc).Control(as(t, h.ID()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(); err != nil {
		t.Errorf("headers: %v", err)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("Control: %v", err)
	}
}

func TestIDsCannotBeGuessed(t *testing.T) {
	a, b := fnapi.NewWorkerID("python"), fnapi.NewWorkerID("python")
	if a == b || len(a) < len("python-")+32 {
		t.Errorf("ids %s, %s", a, b)
	}
}

func TestDescriptors(t *testing.T) {
	srv, cc := serve(t)
	h := srv.Expect(fnapi.WorkerConfig{})
	d := fakesdk.Descriptor("stage-1", "in", []string{"out"}, "")
	want := proto.Clone(d)
	h.AddDescriptor(d)
	h.AddDescriptor(d)
	if !proto.Equal(d, want) {
		t.Error("AddDescriptor changed its argument")
	}
	id := h.DescriptorID("stage-1")
	get := func(ctx context.Context, id string) (*fnpb.ProcessBundleDescriptor, error) {
		return fnpb.NewBeamFnControlClient(cc).GetProcessBundleDescriptor(ctx, &fnpb.GetProcessBundleDescriptorRequest{ProcessBundleDescriptorId: id})
	}
	if _, err := get(t.Context(), "stage-1"); status.Code(err) != codes.NotFound {
		t.Errorf("by a guessable id: %v", err)
	}
	got, err := get(t.Context(), id) // without a worker id
	if err != nil {
		t.Fatal(err)
	}
	port := &fnpb.RemoteGrpcPort{}
	if err := proto.Unmarshal(got.GetTransforms()["in"].GetSpec().GetPayload(), port); err != nil {
		t.Fatal(err)
	}
	for what, url := range map[string]string{
		"state": got.GetStateApiServiceDescriptor().GetUrl(),
		"timer": got.GetTimerApiServiceDescriptor().GetUrl(),
		"port":  port.GetApiServiceDescriptor().GetUrl(),
	} {
		if url != srv.Endpoint() {
			t.Errorf("%s endpoint %q", what, url)
		}
	}
	if port.GetCoderId() != "c" || got.GetId() != id {
		t.Errorf("coder %q, id %q", port.GetCoderId(), got.GetId())
	}
	h.Close(nil)
	h.AddDescriptor(fakesdk.Descriptor("stage-2", "in", nil, ""))
	if _, err := get(t.Context(), id); status.Code(err) != codes.NotFound {
		t.Errorf("after Close: %v", err)
	}
}

func TestProvisionInfo(t *testing.T) {
	srv, cc := serve(t)
	h := srv.Expect(fnapi.WorkerConfig{Provision: &fnpb.ProvisionInfo{
		RetrievalToken:   "token",
		ArtifactEndpoint: &pipepb.ApiServiceDescriptor{Url: "elsewhere:1"},
		SiblingWorkerIds: []string{"b"},
	}})
	defer h.Close(nil)
	r, err := fnpb.NewProvisionServiceClient(cc).GetProvisionInfo(as(t, h.ID()), &fnpb.GetProvisionInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	i := r.GetInfo()
	if i.GetControlEndpoint().GetUrl() != srv.Endpoint() || i.GetLoggingEndpoint().GetUrl() != srv.Endpoint() ||
		i.GetArtifactEndpoint().GetUrl() != "elsewhere:1" || i.GetRetrievalToken() != "token" ||
		i.GetPipelineOptions() == nil || len(i.GetRunnerCapabilities()) == 0 || len(i.GetSiblingWorkerIds()) != 1 {
		t.Errorf("info %v", i)
	}
}

func TestLogs(t *testing.T) {
	srv, cc := serve(t)
	got := make(chan string, 10)
	h := srv.Expect(fnapi.WorkerConfig{OnLog: func(h *fnapi.Harness, e *fnpb.LogEntry) { got <- h.Name() + ": " + e.GetMessage() }, Name: "w"})
	s, err := fnpb.NewBeamFnLoggingClient(cc).Logging(as(t, h.ID()))
	if err != nil {
		t.Fatal(err)
	}
	send := func(m string) {
		t.Helper()
		if err := s.Send(&fnpb.LogEntry_List{LogEntries: []*fnpb.LogEntry{{Message: m}}}); err != nil {
			t.Fatal(err)
		}
		select {
		case l := <-got:
			if l != "w: "+m {
				t.Errorf("log %q", l)
			}
		case <-time.After(fakesdk.HangLimit):
			t.Fatal("no log")
		}
	}
	send("hello")
	h.Close(nil)
	send("last words")
	_ = s.CloseSend()
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("end of the logs: %v", err)
	}
}

func TestStatus(t *testing.T) {
	srv, cc := serve(t)
	h := srv.Expect(fnapi.WorkerConfig{})
	defer h.Close(nil)
	if _, err := h.Status(t.Context()); !errors.Is(err, fnapi.ErrNoStatus) {
		t.Errorf("without a stream: %v", err)
	}
	s, err := fnpb.NewBeamFnWorkerStatusClient(cc).WorkerStatus(as(t, h.ID()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			_ = s.Send(&fnpb.WorkerStatusResponse{Id: "nonsense"})
			_ = s.Send(&fnpb.WorkerStatusResponse{Id: r.GetId(), StatusInfo: "all well"})
		}
	}()
	for ctx := as(t, ""); ; time.Sleep(time.Millisecond) {
		got, err := h.Status(ctx)
		if errors.Is(err, fnapi.ErrNoStatus) {
			continue // the headers come before the stream is known
		}
		if got != "all well" || err != nil {
			t.Errorf("status %q, %v", got, err)
		}
		return
	}
}

func TestInstruct(t *testing.T) {
	srv, _ := serve(t)
	h := srv.Expect(fnapi.WorkerConfig{})
	defer h.Close(nil)
	w, err := fakesdk.Start(fakesdk.Config{Target: srv.Endpoint(), ID: h.ID(), Other: func(r *fnpb.InstructionRequest) *fnpb.InstructionResponse {
		if r.GetHarnessMonitoringInfos() == nil {
			return nil
		}
		return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_HarnessMonitoringInfos{
			HarnessMonitoringInfos: &fnpb.HarnessMonitoringInfosResponse{MonitoringData: map[string][]byte{"a": nil}}}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	<-h.Ready()
	var wg sync.WaitGroup
	for range 200 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := h.Instruct(t.Context(), &fnpb.InstructionRequest{Request: &fnpb.InstructionRequest_HarnessMonitoringInfos{HarnessMonitoringInfos: &fnpb.HarnessMonitoringInfosRequest{}}})
			if err != nil || len(r.GetHarnessMonitoringInfos().GetMonitoringData()) != 1 {
				t.Errorf("%v, %v", r, err)
			}
		}()
	}
	wg.Wait()
	_, err = h.Instruct(t.Context(), &fnpb.InstructionRequest{})
	var refused *fnapi.SDKError
	if !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
	// A second control stream for the same worker is refused.
	conn, ctx := w.Conn()
	s, err := fnpb.NewBeamFnControlClient(conn).Control(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.AlreadyExists {
		t.Errorf("second control stream: %v", err)
	}
}

func TestDeathFailsAllCalls(t *testing.T) {
	srv, _ := serve(t)
	h := srv.Expect(fnapi.WorkerConfig{Name: "java-1", Explain: func(err error) error { return fmt.Errorf("explained: %w", err) }})
	got := make(chan struct{}, 20)
	w, err := fakesdk.Start(fakesdk.Config{Target: srv.Endpoint(), ID: h.ID(), Process: fakesdk.Hang})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	errs := make(chan error, 20)
	for range cap(errs) {
		go func() {
			got <- struct{}{}
			_, err := h.Instruct(t.Context(), &fnpb.InstructionRequest{Request: &fnpb.InstructionRequest_ProcessBundle{ProcessBundle: &fnpb.ProcessBundleRequest{ProcessBundleDescriptorId: "x"}}})
			errs <- err
		}()
	}
	for range cap(got) {
		<-got
	}
	w.Kill()
	for range cap(errs) {
		var dead *fnapi.DeadError
		if err := <-errs; !errors.As(err, &dead) && !isSDK(err) {
			t.Errorf("error %v", err)
		} else if dead != nil && (!strings.Contains(err.Error(), "java-1") || !strings.Contains(err.Error(), "explained")) {
			t.Errorf("message %q", err)
		}
	}
	<-h.Done()
	if h.Err() == nil {
		t.Error("no reason of death")
	}
}

func isSDK(err error) bool {
	var e *fnapi.SDKError
	return errors.As(err, &e)
}

func TestCloseEndsTheWorker(t *testing.T) {
	srv, _ := serve(t)
	h := srv.Expect(fnapi.WorkerConfig{})
	w, err := fakesdk.Start(fakesdk.Config{Target: srv.Endpoint(), ID: h.ID()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	<-h.Ready()
	h.Close(nil)
	h.Close(errors.New("too late"))
	select {
	case <-w.Ended():
	case <-time.After(fakesdk.HangLimit):
		t.Error("the control stream did not end")
	}
	if h.Err() != nil {
		t.Errorf("Err after Close(nil): %v", h.Err())
	}
	_, err = h.Instruct(t.Context(), &fnpb.InstructionRequest{})
	if !errors.Is(err, fnapi.ErrClosed) {
		t.Errorf("Instruct after Close: %v", err)
	}
}

func TestLostDataStreamKillsOnlyBusyWorkers(t *testing.T) {
	srv, cc := serve(t)
	h := srv.Expect(fnapi.WorkerConfig{})
	defer h.Close(nil)
	w, err := fakesdk.Start(fakesdk.Config{Target: srv.Endpoint(), ID: h.ID()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	open := func() fnpb.BeamFnData_DataClient {
		s, err := fnpb.NewBeamFnDataClient(cc).Data(as(t, h.ID()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Header(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	idle := open()
	_ = idle.CloseSend()
	if _, err := idle.Recv(); err != io.EOF {
		t.Errorf("idle stream: %v", err)
	}
	i, err := h.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	busy := open()
	_ = busy.CloseSend()
	select {
	case <-h.Done():
	case <-time.After(fakesdk.HangLimit):
		t.Error("a worker that lost its data stream with a bundle in flight lives on")
	}
}

// FuzzData: whatever elements a worker sends, the harness neither panics nor
// hangs, and a well-behaved bundle beside it gets what belongs to it.
func FuzzData(f *testing.F) {
	seed, _ := proto.Marshal(&fnpb.Elements{
		Data:   []*fnpb.Elements_Data{{InstructionId: "1", TransformId: "out", Data: []byte("x")}, {InstructionId: "9", IsLast: true}},
		Timers: []*fnpb.Elements_Timers{{InstructionId: "1", TransformId: "t", TimerFamilyId: "f", Timers: []byte("y"), IsLast: true}},
	})
	f.Add(seed)
	f.Add([]byte{0x0a, 0x03, 0x0a, 0x01, '1'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		e := &fnpb.Elements{}
		if proto.Unmarshal(raw, e) != nil {
			return
		}
		fnapi.RouteForTest(t, e)
	})
}
