package environment

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// pythonVar names a Python interpreter with Apache Beam, for tests with the
// real SDK.
const pythonVar = "PHAROS_TEST_PYTHON"

func python(t testing.TB) string {
	t.Helper()
	p := os.Getenv(pythonVar)
	if p == "" {
		t.Skipf("%s is not set", pythonVar)
	}
	return p
}

// flattenDescriptor is source → Flatten → sink, of byte strings in the global
// window.
func flattenDescriptor(t testing.TB) *fnpb.ProcessBundleDescriptor {
	t.Helper()
	port, err := proto.Marshal(&fnpb.RemoteGrpcPort{CoderId: "wv"})
	if err != nil {
		t.Fatal(err)
	}
	spec := func(typ string, payload []byte) *pipepb.FunctionSpec {
		return &pipepb.FunctionSpec{Urn: typ, Payload: payload}
	}
	coder := func(typ string, parts ...string) *pipepb.Coder {
		return &pipepb.Coder{Spec: spec(typ, nil), ComponentCoderIds: parts}
	}
	return &fnpb.ProcessBundleDescriptor{
		Id: "flatten",
		Transforms: map[string]*pipepb.PTransform{
			"in":      {UniqueName: "in", Spec: spec("beam:runner:source:v1", port), Outputs: map[string]string{"o": "a"}},
			"flatten": {UniqueName: "flatten", Spec: spec("beam:transform:flatten:v1", nil), Inputs: map[string]string{"i": "a"}, Outputs: map[string]string{"o": "b"}},
			"out":     {UniqueName: "out", Spec: spec("beam:runner:sink:v1", port), Inputs: map[string]string{"i": "b"}},
		},
		Pcollections: map[string]*pipepb.PCollection{
			"a": {UniqueName: "a", CoderId: "bytes", WindowingStrategyId: "w", IsBounded: pipepb.IsBounded_BOUNDED},
			"b": {UniqueName: "b", CoderId: "bytes", WindowingStrategyId: "w", IsBounded: pipepb.IsBounded_BOUNDED},
		},
		WindowingStrategies: map[string]*pipepb.WindowingStrategy{"w": {
			WindowFn: spec("beam:window_fn:global_windows:v1", nil), WindowCoderId: "gw",
			Trigger: &pipepb.Trigger{Trigger: &pipepb.Trigger_Default_{}},
		}},
		Coders: map[string]*pipepb.Coder{
			"bytes": coder("beam:coder:bytes:v1"),
			"gw":    coder("beam:coder:global_window:v1"),
			"wv":    coder("beam:coder:windowed_value:v1", "bytes", "gw"),
		},
	}
}

// source yields n elements, header and one byte, in chunks of at most 1000.
type source struct{ n int }

func (s *source) Next(context.Context) (bundle.Chunk, error) {
	if s.n == 0 {
		return bundle.Chunk{}, io.EOF
	}
	k := min(s.n, 1000)
	s.n -= k
	one := []byte{0x80, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0x0f, 1, 'x'} // timestamp, one window, pane, value
	return bundle.Chunk{Data: bytes.Repeat(one, k), Elements: int64(k)}, nil
}

// useWorkers runs bundles on a pool's workers.
// failure is a part of the SDK's error text for a bad descriptor.
func useWorkers(t *testing.T, p *Pool, failure string) {
	run := func(descriptor string, src bundle.Source) (int, *bundle.Result, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		h, err := p.Get(ctx)
		if err != nil {
			return 0, nil, err
		}
		defer p.Put(h)
		h.AddDescriptor(flattenDescriptor(t))
		bad := flattenDescriptor(t)
		bad.Id, bad.Transforms["flatten"].Spec.Urn = "bad", "unheard:of"
		h.AddDescriptor(bad)
		got := 0
		r, err := bundle.Start(ctx, h, bundle.Spec{
			Descriptor: descriptor, Source: src, InputPort: "in", DataOutputs: []string{"out"},
			Output: func(_ string, d []byte) error { got += len(d); return nil },
		}).Wait()
		return got, r, err
	}
	for _, n := range []int{0, 1, 100_000} {
		begin := time.Now()
		got, r, err := run("flatten", &source{n: n})
		t.Logf("%d elements in %v", n, time.Since(begin))
		if err != nil || got != 15*n {
			t.Fatalf("%d elements: %d bytes, %v", n, got, err)
		}
		if n > 0 && len(r.Infos) == 0 {
			t.Error("no metrics")
		}
	}
	_, _, err := run("bad", &source{n: 10})
	var sdk *fnapi.SDKError
	if !errors.As(err, &sdk) || !strings.Contains(sdk.Text, failure) {
		t.Errorf("bad descriptor: %v", err)
	}
	begin := time.Now()
	const bundles = 200
	for range bundles {
		if got, _, err := run("flatten", &source{n: 10}); err != nil || got != 150 {
			t.Fatalf("after an error: %d bytes, %v", got, err)
		}
	}
	t.Logf("%v a bundle of 10 elements", time.Since(begin)/bundles)
	begin = time.Now()
	if _, _, err := run("flatten", &source{n: 1_000_000}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f elements/s", 1e6/time.Since(begin).Seconds())

	// A bundle that is given up does not keep the worker.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	h, err := p.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = bundle.Start(ctx, h, bundle.Spec{
		Descriptor: "flatten", Source: blocked{}, InputPort: "in", DataOutputs: []string{"out"},
		Output: func(string, []byte) error { return nil },
	}).Wait()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("given up: %v", err)
	}
	p.Put(h)
	if got, _, err := run("flatten", &source{n: 10}); err != nil || got != 150 {
		t.Fatalf("after giving up: %d bytes, %v", got, err)
	}
}

// blocked yields nothing until ctx ends.
type blocked struct{}

func (blocked) Next(ctx context.Context) (bundle.Chunk, error) {
	<-ctx.Done()
	return bundle.Chunk{}, ctx.Err()
}

func TestPythonProcess(t *testing.T) {
	py := python(t)
	srv := newServer(t)
	logs := make(chan string, 1000)
	p := NewPool(srv, "py", processEnv(t, &pipepb.ProcessPayload{Command: py + " -m apache_beam.runners.worker.sdk_worker_main"}, "beam:version:sdk_base:apache/beam_python3.11_sdk:1"), Options{
		WorkersPerEnvironment: 1,
		OnLog: func(_ *fnapi.Harness, e *fnpb.LogEntry) {
			select {
			case logs <- e.GetMessage():
			default:
			}
		},
	})
	useWorkers(t, p, "Traceback")
	begin := time.Now()
	p.Close()
	t.Logf("closed in %v", time.Since(begin))
	if len(logs) == 0 {
		t.Error("no logs")
	}
}

func TestPythonWorkerPool(t *testing.T) {
	py := python(t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := lis.Addr().(*net.TCPAddr).Port
	lis.Close()
	cmd := exec.Command(py, "-m", "apache_beam.runners.worker.worker_pool_main", fmt.Sprintf("--service_port=%d", port))
	cmd.Env = append(os.Environ(), "PATH="+strings.TrimSuffix(py, "/python")+":"+os.Getenv("PATH"))
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if testing.Verbose() {
				fmt.Println("pool:", s.Text())
			}
		}
	}()
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	srv := newServer(t)
	p := NewPool(srv, "py", externalEnv(t, fmt.Sprintf("localhost:%d", port), "beam:version:sdk_base:apache/beam_python3.11_sdk:1"), Options{})
	useWorkers(t, p, "Traceback")
	begin := time.Now()
	p.Close()
	t.Logf("closed in %v", time.Since(begin))
}

// javaVar is a class path with Beam's Java harness, for a test with that SDK.
const javaVar = "PHAROS_TEST_JAVA_CLASSPATH"

func TestJavaProcess(t *testing.T) {
	cp := os.Getenv(javaVar)
	if cp == "" {
		t.Skipf("%s is not set", javaVar)
	}
	srv := newServer(t)
	for _, capabilities := range [][]string{nil, {urn.ProtocolControlRequestElementsEmbedding}} {
		p := NewPool(srv, "java", processEnv(t, &pipepb.ProcessPayload{
			Command: "java -cp " + cp + " org.apache.beam.fn.harness.FnHarness",
		}, append(capabilities, "beam:version:sdk_base:apache/beam_java17_sdk:1")...), Options{PipelineOptions: &structpb.Struct{}})
		useWorkers(t, p, "unheard:of")
		st, err := p.Harnesses()[0].Status(t.Context())
		if err != nil || !strings.Contains(st, "Memory") {
			t.Errorf("status %.200q, %v", st, err)
		}
		begin := time.Now()
		p.Close()
		t.Logf("closed in %v", time.Since(begin))
	}
}
