package environment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// Modes of this test binary when it is run as a worker.
const modeVar = "PHAROS_TEST_WORKER"

func TestMain(m *testing.M) {
	switch mode := os.Getenv(modeVar); mode {
	case "":
		goleak.VerifyTestMain(m)
	case "host":
		hostMain()
	default:
		workerMain(mode)
	}
}

// flagOf returns the value of --name=value in this process' arguments.
func flagOf(name string) string {
	for _, a := range os.Args {
		if v, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			return v
		}
	}
	return ""
}

// workerMain is a worker process.
func workerMain(mode string) {
	if f := os.Getenv("PHAROS_TEST_PIDS"); f != "" {
		w, _ := os.OpenFile(f, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		fmt.Fprintln(w, os.Getpid())
		w.Close()
	}
	if mode == "exit" {
		fmt.Fprintln(os.Stderr, "first line\nModuleNotFoundError: no module")
		os.Exit(3)
	}
	cfg := fakesdk.Config{Target: flagOf("control_endpoint"), ID: flagOf("id")}
	if os.Getenv("WORKER_ID") != cfg.ID {
		os.Exit(9)
	}
	if mode == "oom" {
		cfg.Other = func(*fnpb.InstructionRequest) *fnpb.InstructionResponse {
			fmt.Fprintln(os.Stderr, "out of memory")
			os.Exit(137)
			return nil
		}
	}
	w, err := fakesdk.Start(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if mode == "stubborn" {
		select {} // no end but SIGKILL
	}
	<-w.Ended()
	w.Stop()
	os.Exit(0)
}

// newServer starts an Fn API server.
func newServer(t testing.TB) *fnapi.Server {
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
	t.Cleanup(func() { g.Stop(); <-served })
	return srv
}

// poolService is a worker pool service like LOOPBACK.
type poolService struct {
	fnpb.UnimplementedBeamFnExternalWorkerPoolServer
	mu      sync.Mutex
	fail    string
	started []*fnpb.StartWorkerRequest
	stopped []string
	workers map[string]*fakesdk.Worker
}

// setFail has starts fail, or not if text is empty.
func (s *poolService) setFail(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = text
}

func (s *poolService) StartWorker(_ context.Context, r *fnpb.StartWorkerRequest) (*fnpb.StartWorkerResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = append(s.started, r)
	if s.fail != "" {
		return &fnpb.StartWorkerResponse{Error: s.fail}, nil
	}
	w, err := fakesdk.Start(fakesdk.Config{Target: r.GetControlEndpoint().GetUrl(), ID: r.GetWorkerId()})
	if err != nil {
		return &fnpb.StartWorkerResponse{Error: err.Error()}, nil
	}
	s.workers[r.GetWorkerId()] = w
	return &fnpb.StartWorkerResponse{}, nil
}

func (s *poolService) StopWorker(_ context.Context, r *fnpb.StopWorkerRequest) (*fnpb.StopWorkerResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = append(s.stopped, r.GetWorkerId())
	return &fnpb.StopWorkerResponse{}, nil
}

func (s *poolService) kill(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers[id].Kill()
}

func newPoolService(t testing.TB) (*poolService, string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &poolService{workers: map[string]*fakesdk.Worker{}}
	g := grpc.NewServer()
	fnpb.RegisterBeamFnExternalWorkerPoolServer(g, s)
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(lis) }()
	t.Cleanup(func() {
		g.Stop()
		<-served
		for _, w := range s.workers {
			w.Stop()
		}
	})
	return s, lis.Addr().String()
}

func newTestPool(t testing.TB, srv *fnapi.Server, e *pipepb.Environment, o Options) *Pool {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	p := NewPool(srv, "env-1", e, o)
	t.Cleanup(p.Close)
	return p
}

func get(t testing.TB, p *Pool) *fnapi.Harness {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fakesdk.HangLimit)
	defer cancel()
	h, err := p.Get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestExternal(t *testing.T) {
	srv := newServer(t)
	s, addr := newPoolService(t)
	p := NewPool(srv, "env-1", externalEnv(t, addr), Options{Artifacts: Artifacts{Endpoint: "artifacts:1"}})
	h := get(t, p)
	r := s.started[0]
	if r.GetWorkerId() != h.ID() || r.GetLoggingEndpoint().GetUrl() != srv.Endpoint() || r.GetProvisionEndpoint().GetUrl() != srv.Endpoint() ||
		r.GetArtifactEndpoint().GetUrl() != "artifacts:1" || r.GetParams()["p"] != "q" || r.GetControlEndpoint().GetAuthentication() != nil {
		t.Errorf("request %v", r)
	}
	if h2 := get(t, p); h2 != h {
		t.Error("a second worker, though one is the limit")
	}
	p.Put(h)
	p.Put(h)
	p.Close()
	if len(s.stopped) != 1 || s.stopped[0] != h.ID() {
		t.Errorf("stopped %v", s.stopped)
	}
	if _, err := p.Get(t.Context()); err == nil {
		t.Error("Get on a closed pool")
	}
	if srv.Workers() != 0 {
		t.Errorf("%d workers are left", srv.Workers())
	}
}

func TestMoreWorkersWhenBusy(t *testing.T) {
	srv := newServer(t)
	s, addr := newPoolService(t)
	p := newTestPool(t, srv, externalEnv(t, addr), Options{WorkersPerEnvironment: 3})
	seen := map[*fnapi.Harness]int{}
	for deadline := time.Now().Add(fakesdk.HangLimit); len(seen) < 3 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		h := get(t, p)
		seen[h]++
	}
	if len(seen) != 3 || len(s.started) != 3 {
		t.Errorf("%d workers used, %d started", len(seen), len(s.started))
	}
	if p.Slots() != 3*p.perWorker() {
		t.Errorf("%d slots", p.Slots())
	}
}

func TestDeadWorkerIsReplaced(t *testing.T) {
	srv := newServer(t)
	s, addr := newPoolService(t)
	p := newTestPool(t, srv, externalEnv(t, addr), Options{})
	for range 3 {
		h := get(t, p)
		s.kill(h.ID())
		<-h.Done()
		p.Put(h)
		next := get(t, p)
		if next == h {
			t.Fatal("Get returned a dead worker")
		}
		p.Put(next)
	}
}

func TestGivesUp(t *testing.T) {
	srv := newServer(t)
	s, addr := newPoolService(t)
	s.fail = "cannot\nstart"
	p := newTestPool(t, srv, externalEnv(t, addr), Options{})
	_, err := p.Get(t.Context())
	if err == nil || !strings.Contains(err.Error(), `environment "env-1" (external `) || !strings.Contains(err.Error(), "cannot") {
		t.Errorf("error %v", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of several lines: %q", err)
	}
	if len(s.started) != failuresMax {
		t.Errorf("%d starts", len(s.started))
	}
	b := newTestPool(t, srv, dockerEnv(t, "img"), Options{})
	if _, err := b.Get(t.Context()); err == nil || b.Err() == nil || b.Slots() != 1 {
		t.Errorf("docker: %v", err)
	}
}

// A pool whose caller counts deaths takes any number of them, and one that has
// given up tries again when it is told to.
func TestCallerCounts(t *testing.T) {
	srv := newServer(t)
	s, addr := newPoolService(t)
	p := newTestPool(t, srv, externalEnv(t, addr), Options{CallerCounts: true})
	for range failuresMax + 2 {
		h := get(t, p)
		s.kill(h.ID())
		<-h.Done()
		p.Put(h)
	}
	s.setFail("cannot start")
	if _, err := p.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "gave up") {
		t.Fatalf("error %v", err)
	}
	s.setFail("")
	if _, err := p.Get(t.Context()); err == nil {
		t.Fatal("a pool that has given up has a worker")
	}
	p.Retry()
	p.Put(get(t, p))
}

// Only who has a command line is told of its options.
func TestAdvice(t *testing.T) {
	for _, commandLine := range []bool{false, true} {
		p := newTestPool(t, newServer(t), dockerEnv(t, "img"), Options{Containers: noEngine{}, CommandLine: commandLine})
		err := p.fetch()
		if !errors.Is(err, ErrNoEngine) || strings.Contains(err.Error(), "--env docker=process:") != commandLine {
			t.Errorf("%v: %v", commandLine, err)
		}
	}
}

// noEngine is Containers of an engine that is not there.
type noEngine struct{ Containers }

func (noEngine) Fetch(context.Context, string) error { return ErrNoEngine }

func (noEngine) Endpoint(runner string) (string, error) { return runner, nil }

// Who has waited for a worker in vain hears why there was none.
func TestUnreachableServiceIsNamed(t *testing.T) {
	srv := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := newTestPool(t, srv, externalEnv(t, "127.0.0.1:1"), Options{StartTimeout: 100 * time.Millisecond, OnStartFailure: func(error) { cancel() }})
	_, err := p.Get(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
}

func TestUnreachableServiceCanBeCancelled(t *testing.T) {
	srv := newServer(t)
	p := newTestPool(t, srv, externalEnv(t, "127.0.0.1:1"), Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Get(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// self is a PROCESS environment that runs this test binary.
func self(t testing.TB, mode string, vars ...string) *pipepb.Environment {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{modeVar: mode}
	for i := 0; i < len(vars); i += 2 {
		m[vars[i]] = vars[i+1]
	}
	return processEnv(t, &pipepb.ProcessPayload{Command: exe, Env: m}, "beam:version:sdk_base:apache/beam_java17_sdk:1")
}

func TestProcess(t *testing.T) {
	srv := newServer(t)
	p := NewPool(srv, "env-1", self(t, "good"), Options{})
	h := get(t, p)
	worker := p.live[0].w
	p.Put(h)
	p.Close()
	if err := worker.exitError(); err == nil || !strings.Contains(err.Error(), "exit status 0") {
		t.Errorf("a willing process has not ended by itself: %v", err)
	}
	if h.Err() != nil {
		t.Errorf("Err %v", h.Err())
	}
}

func TestProcessThatExits(t *testing.T) {
	srv := newServer(t)
	p := newTestPool(t, srv, self(t, "exit"), Options{})
	_, err := p.Get(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3: ModuleNotFoundError: no module") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	q := newTestPool(t, srv, processEnv(t, &pipepb.ProcessPayload{Command: "/nonexistent/boot"}), Options{})
	if _, err := q.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "/nonexistent/boot") {
		t.Errorf("error %v", err)
	}
}

func TestProcessThatDies(t *testing.T) {
	srv := newServer(t)
	p := newTestPool(t, srv, self(t, "oom"), Options{})
	h := get(t, p)
	_, err := h.Instruct(t.Context(), &fnpb.InstructionRequest{Request: &fnpb.InstructionRequest_HarnessMonitoringInfos{}})
	var dead *fnapi.DeadError
	if !errors.As(err, &dead) || !strings.Contains(err.Error(), "exit status 137: out of memory") {
		t.Errorf("error %v", err)
	}
	p.Put(h)
	if next := get(t, p); next == h {
		t.Error("Get returned a dead worker")
	}
}

func TestStubbornProcessIsKilled(t *testing.T) {
	srv := newServer(t)
	pids := filepath.Join(t.TempDir(), "pids")
	p := NewPool(srv, "env-1", self(t, "stubborn", "PHAROS_TEST_PIDS", pids), Options{})
	get(t, p)
	p.Close()
	expectGone(t, pids)
}

// expectGone checks that the processes listed in a file end.
func expectGone(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(b)
	if len(fields) == 0 {
		t.Fatal("no process was started")
	}
	for _, f := range fields {
		pid, _ := strconv.Atoi(string(f))
		for deadline := time.Now().Add(fakesdk.HangLimit); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("process %d lives on", pid)
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
		}
	}
}

// zombie reports whether pid has ended but is not waited for.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(b, []byte(") Z "))
}

// hostMain is a runner that is about to be killed: it starts one worker through
// a shell that does not exec, so that the worker is a grandchild.
func hostMain() {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	srv := fnapi.NewServer(fnapi.Options{})
	srv.SetEndpoint(lis.Addr().String())
	g := grpc.NewServer(fnapi.ServerOptions()...)
	srv.Register(g)
	go func() { _ = g.Serve(lis) }()
	exe, _ := os.Executable()
	command := fmt.Sprintf(`/bin/sh -c "%s=stubborn '%s' \"\$@\"; true" sh`, modeVar, exe)
	p := NewPool(srv, "env", &pipepb.Environment{}, Options{Overrides: map[string]string{"env": "process:" + command}})
	if _, err := p.Get(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

func TestNoOrphanWhenTheRunnerIsKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pids := filepath.Join(t.TempDir(), "pids")
	host := exec.Command(exe)
	host.Env = append(os.Environ(), modeVar+"=host", "PHAROS_TEST_PIDS="+pids)
	host.Stderr = os.Stderr
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	if _, err := out.Read(line); err != nil {
		t.Error(err)
	}
	_ = host.Process.Kill()
	_ = host.Wait()
	expectGone(t, pids)
}

func TestSlots(t *testing.T) {
	srv := newServer(t)
	for name, c := range map[string]struct {
		env  *pipepb.Environment
		want int
	}{
		"python loopback": {externalEnv(t, "x:1", "beam:version:sdk_base:apache/beam_python3.11_sdk:1"), 4},
		"typescript":      {externalEnv(t, "x:1", "beam:version:sdk_base:apache/beam_typescript_sdk:1"), 2},
	} {
		if got := newTestPool(t, srv, c.env, Options{}).Slots(); got != c.want {
			t.Errorf("%s: %d slots, want %d", name, got, c.want)
		}
	}
	limited := externalEnv(t, "x:1", "beam:version:sdk_base:apache/beam_python3.11_sdk:1")
	limited.ResourceHints = map[string][]byte{"beam:resources:max_active_bundles_per_worker:v1": []byte("1")}
	if got := newTestPool(t, srv, limited, Options{}).Slots(); got != 1 {
		t.Errorf("hinted: %d slots", got)
	}
}
