package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is an Fn API server with one fake worker.
type rig struct {
	srv *fnapi.Server
	h   *fnapi.Harness
	w   *fakesdk.Worker
	tgt string
}

// newRig starts a server and a worker. wc and fc may set what they like.
func newRig(t testing.TB, wc fnapi.WorkerConfig, fc fakesdk.Config) *rig {
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
	h := srv.Expect(wc)
	fc.Target, fc.ID = lis.Addr().String(), h.ID()
	w, err := fakesdk.Start(fc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close(nil)
		w.Stop()
		g.Stop()
		<-served
	})
	select {
	case <-h.Ready():
	case <-time.After(fakesdk.HangLimit):
		t.Fatal("worker is not ready")
	}
	return &rig{srv, h, w, lis.Addr().String()}
}

// chunks is a Source over a slice.
type chunks struct {
	c    []bundle.Chunk
	err  error // at the end, instead of io.EOF
	hold chan struct{}
}

func (s *chunks) Next(ctx context.Context) (bundle.Chunk, error) {
	if len(s.c) == 0 {
		if s.hold != nil {
			select {
			case <-s.hold:
			case <-ctx.Done():
				return bundle.Chunk{}, ctx.Err()
			}
		}
		if s.err != nil {
			return bundle.Chunk{}, s.err
		}
		return bundle.Chunk{}, io.EOF
	}
	c := s.c[0]
	s.c = s.c[1:]
	return c, nil
}

// sink collects output.
type sink struct {
	mu     sync.Mutex
	data   map[string]*bytes.Buffer
	timers map[bundle.TimerKey]*bytes.Buffer
}

func (s *sink) output(transform string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data == nil {
		s.data = map[string]*bytes.Buffer{}
	}
	if s.data[transform] == nil {
		s.data[transform] = &bytes.Buffer{}
	}
	s.data[transform].Write(data)
	return nil
}

func (s *sink) timer(transform, family string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := bundle.TimerKey{Transform: transform, Family: family}
	if s.timers == nil {
		s.timers = map[bundle.TimerKey]*bytes.Buffer{}
	}
	if s.timers[k] == nil {
		s.timers[k] = &bytes.Buffer{}
	}
	s.timers[k].Write(data)
	return nil
}

func (s *sink) got(transform string) string {
	if b := s.data[transform]; b != nil {
		return b.String()
	}
	return ""
}

// plain adds a descriptor with one source, one sink to r and returns a Spec.
func (r *rig) plain(src bundle.Source, out *sink) bundle.Spec {
	r.h.AddDescriptor(fakesdk.Descriptor("d", "in", []string{"out"}, ""))
	return bundle.Spec{
		Descriptor: "d", Source: src, Output: out.output, Timer: out.timer,
		DataOutputs: []string{"out"}, InputPort: "in",
	}
}

// withTimers is like plain, with two timer families of "pardo".
func (r *rig) withTimers(src bundle.Source, out *sink) bundle.Spec {
	r.h.AddDescriptor(fakesdk.Descriptor("t", "in", []string{"out"}, "pardo", "a", "b"))
	return bundle.Spec{
		Descriptor: "t", Source: src, Output: out.output, Timer: out.timer,
		DataOutputs: []string{"out"}, InputPort: "in",
		TimerFamilies: []bundle.TimerKey{{Transform: "pardo", Family: "a"}, {Transform: "pardo", Family: "b"}},
	}
}

// wait waits for b, but not for ever.
func wait(t testing.TB, b *bundle.Bundle) (*bundle.Result, error) {
	t.Helper()
	select {
	case <-b.Done():
		return b.Wait()
	case <-time.After(fakesdk.HangLimit):
		t.Fatal("the bundle hangs")
		return nil, nil
	}
}

// untilRequested waits until b can be asked for something, which the worker may
// see it begin before.
func untilRequested(t testing.TB, b *bundle.Bundle) {
	t.Helper()
	for end := time.Now().Add(fakesdk.HangLimit); !b.Requested(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the bundle is not requested")
		}
	}
}

// text makes chunks of strings.
func text(s ...string) *chunks {
	c := &chunks{}
	for _, x := range s {
		c.c = append(c.c, bundle.Chunk{Data: []byte(x), Elements: 1})
	}
	return c
}

func sdkError(err error) (string, bool) {
	var e *fnapi.SDKError
	if errors.As(err, &e) {
		return e.Text, true
	}
	return "", false
}

// state is a StateHandler made of a function.
type state func(context.Context, *fnpb.StateRequest) (*fnpb.StateResponse, error)

func (f state) State(ctx context.Context, r *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	return f(ctx, r)
}

// repeat yields the same chunk n times.
type repeat struct {
	data []byte
	n    int
}

func (s *repeat) Next(context.Context) (bundle.Chunk, error) {
	if s.n == 0 {
		return bundle.Chunk{}, io.EOF
	}
	s.n--
	return bundle.Chunk{Data: s.data, Elements: 1}, nil
}
