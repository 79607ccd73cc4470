package environment

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// offerSelf serves a pool whose workers are this test binary.
func offerSelf(t *testing.T, slots int, pids string) (*WorkerPool, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PHAROS_TEST_PIDS", pids)
	s := NewWorkerPool("/bin/sh -c '"+modeVar+"=good exec \"$@\"' sh "+exe, slots, slog.New(slog.DiscardHandler))
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	fnpb.RegisterBeamFnExternalWorkerPoolServer(g, s)
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(lis) }()
	t.Cleanup(func() {
		s.Close()
		g.Stop()
		<-served
	})
	return s, lis.Addr().String()
}

// Two pools with a slot each get a worker each; a third worker finds no slot,
// and goes to the pool in which one becomes free.
func TestWorkerPools(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	first, a := offerSelf(t, 1, pids)
	_, b := offerSelf(t, 1, pids)
	srv := newServer(t)
	p := newTestPool(t, srv, externalEnv(t, a+","+b), Options{BundlesPerWorker: 1})
	if p.Size() != 2 {
		t.Fatalf("%d workers, want one for each slot", p.Size())
	}
	one := get(t, p)
	two := get(t, p)
	if one == two {
		t.Fatal("two bundles on one worker, though there are two")
	}
	_, err := first.StartWorker(t.Context(), &fnpb.StartWorkerRequest{WorkerId: "more", ControlEndpoint: &pipepb.ApiServiceDescriptor{Url: "x:1"}})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a worker more than there are slots: %v", err)
	}
	first.Close() // its machine goes down
	gone := one
	select {
	case <-one.Done():
		_ = two
	case <-two.Done():
		gone = two
	case <-time.After(fakesdk.HangLimit):
		t.Fatal("the worker of a pool that has ended lives on")
	}
	p.Put(gone)
	q := newTestPool(t, srv, externalEnv(t, a+","+b), Options{BundlesPerWorker: 1})
	p.Close()
	get(t, q)
	expectStarted(t, pids, 3)
}

// expectStarted checks how many worker processes have been started.
func expectStarted(t *testing.T, pids string, want int) {
	t.Helper()
	got, err := os.ReadFile(pids)
	if n := strings.Count(string(got), "\n"); err != nil || n != want {
		t.Errorf("%d worker processes have been started, want %d (%v)", n, want, err)
	}
}

// A worker of a bad request, or one whose runner cannot be asked, is refused.
func TestWorkerPoolRefuses(t *testing.T) {
	s, _ := offerSelf(t, 1, filepath.Join(t.TempDir(), "pids"))
	if _, err := s.StartWorker(t.Context(), &fnpb.StartWorkerRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no id: %v", err)
	}
	api := &pipepb.ApiServiceDescriptor{Url: "127.0.0.1:1"}
	r, err := s.StartWorker(t.Context(), &fnpb.StartWorkerRequest{WorkerId: "w", ControlEndpoint: api, ProvisionEndpoint: api})
	if err != nil || !strings.Contains(r.GetError(), "127.0.0.1:1") {
		t.Errorf("a runner that is not there: %v, %v", r, err)
	}
	if _, err := s.StopWorker(t.Context(), &fnpb.StopWorkerRequest{WorkerId: "unknown"}); err != nil {
		t.Errorf("stop an unknown worker: %v", err)
	}
	s.Close()
	if _, err := s.StartWorker(t.Context(), &fnpb.StartWorkerRequest{WorkerId: "w", ControlEndpoint: api}); status.Code(err) != codes.Unavailable {
		t.Errorf("a pool that has ended: %v", err)
	}
}
