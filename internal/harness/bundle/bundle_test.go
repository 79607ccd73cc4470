package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

func TestEcho(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{})
	var out sink
	b := bundle.Start(t.Context(), r.h, r.plain(text("hello ", "beam"), &out))
	res, err := wait(t, b)
	if err != nil {
		t.Fatal(err)
	}
	if got := out.got("out"); got != "hello beam" {
		t.Errorf("output %q", got)
	}
	if b.Sent() != 2 || res.Response == nil {
		t.Errorf("sent %d, response %v", b.Sent(), res.Response)
	}
}

func TestNoInputNoOutput(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{})
	r.h.AddDescriptor(fakesdk.Descriptor("none", "in", nil, ""))
	b := bundle.Start(t.Context(), r.h, bundle.Spec{Descriptor: "none", InputPort: "in"})
	if _, err := wait(t, b); err != nil {
		t.Fatal(err)
	}
}

func TestTimers(t *testing.T) {
	for name, cfg := range map[string]fnapi.WorkerConfig{
		"stream":   {},
		"embedded": {Capabilities: []string{urn.ProtocolControlRequestElementsEmbedding}},
	} {
		t.Run(name, func(t *testing.T) {
			var embedded atomic.Bool
			r := newRig(t, cfg, fakesdk.Config{Embed: name == "embedded", Process: func(b *fakesdk.Bundle) error {
				embedded.Store(b.Request.GetElements() != nil)
				return fakesdk.Echo(b)
			}})
			src := &chunks{c: []bundle.Chunk{
				{Transform: "pardo", Family: "a", Data: []byte("t1")},
				{Data: []byte("x"), Elements: 1},
				{Transform: "pardo", Family: "b", Data: []byte("t2")},
			}}
			var out sink
			b := bundle.Start(t.Context(), r.h, r.withTimers(src, &out))
			if _, err := wait(t, b); err != nil {
				t.Fatal(err)
			}
			if embedded.Load() != (name == "embedded") {
				t.Errorf("elements in the request: %v", embedded.Load())
			}
			if out.got("out") != "x" {
				t.Errorf("output %q", out.got("out"))
			}
			for f, want := range map[string]string{"a": "t1", "b": "t2"} {
				if got := out.timers[bundle.TimerKey{Transform: "pardo", Family: f}]; got == nil || got.String() != want {
					t.Errorf("timers of %s: %v", f, got)
				}
			}
		})
	}
}

func TestEndsOfTimers(t *testing.T) {
	// Go counts one end of timers per transform, and closes the families that
	// it has heard of.
	type last struct {
		family string
		last   bool
	}
	var got []last
	r := newRig(t, fnapi.WorkerConfig{
		Capabilities: []string{urn.ProtocolControlRequestElementsEmbedding},
		Traits:       fnapi.Traits{TimersEndPerTransform: true},
	}, fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
		for _, e := range b.Request.GetElements().GetTimers() {
			got = append(got, last{e.GetTimerFamilyId(), e.GetIsLast()})
		}
		return nil
	}})
	var out sink
	if _, err := wait(t, bundle.Start(t.Context(), r.h, r.withTimers(nil, &out))); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint([]last{{"a", false}, {"b", true}}); fmt.Sprint(got) != want {
		t.Errorf("ends %v, want %s", got, want)
	}
}

// received keeps what a worker got, message by message.
func TestSingleMessage(t *testing.T) {
	var items []fakesdk.Item
	r := newRig(t, fnapi.WorkerConfig{Traits: fnapi.Traits{SingleMessage: true, MaxMessageBytes: 100 << 10}},
		fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
			for {
				i, err := b.Next()
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
				items = append(items, i)
			}
		}})
	var out sink
	big := strings.Repeat("x", 40<<10)
	if _, err := wait(t, bundle.Start(t.Context(), r.h, r.plain(text("a", big, "c"), &out))); err != nil {
		t.Fatal(err)
	}
	if len(items) != 1 || !items[0].Last || string(items[0].Data) != "a"+big+"c" {
		t.Errorf("got %d items, want one with all data and the end", len(items))
	}
	_, err := wait(t, bundle.Start(t.Context(), r.h, r.plain(text(big, big, big), &out)))
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too large an input: %v", err)
	}
}

func TestLargeDataKeepsOrder(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{})
	var want bytes.Buffer
	src := &chunks{}
	for i := range 3000 {
		d := bytes.Repeat([]byte{byte(i)}, 1+i*7%3000)
		if i%500 == 0 {
			d = bytes.Repeat([]byte{byte(i)}, 1<<20)
		}
		want.Write(d)
		src.c = append(src.c, bundle.Chunk{Data: d, Elements: 1})
	}
	var out sink
	if _, err := wait(t, bundle.Start(t.Context(), r.h, r.plain(src, &out))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.data["out"].Bytes(), want.Bytes()) {
		t.Error("output differs from input")
	}
}

func TestConcurrentBundlesWithSlowConsumer(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{})
	const n = 12
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			src := &chunks{}
			for range 20 {
				src.c = append(src.c, bundle.Chunk{Data: bytes.Repeat([]byte{byte(i)}, 64<<10), Elements: 1})
			}
			var out sink
			s := r.plain(src, &out)
			if i == 0 {
				s.Output = func(tr string, d []byte) error {
					time.Sleep(10 * time.Millisecond)
					return out.output(tr, d)
				}
			}
			b := bundle.Start(t.Context(), r.h, s)
			if _, err := b.Wait(); err != nil {
				errs <- err
				return
			}
			if got := out.data["out"].Len(); got != 20*64<<10 {
				errs <- fmt.Errorf("bundle %d: %d bytes", i, got)
			}
		}()
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

func TestSDKError(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{Process: fakesdk.Fail("Traceback:\n  boom")})
	var out sink
	_, err := wait(t, bundle.Start(t.Context(), r.h, r.plain(text("x"), &out)))
	if got, ok := sdkError(err); !ok || got != "Traceback:\n  boom" {
		t.Errorf("error %v", err)
	}
}

func TestSDKErrorWhileFeeding(t *testing.T) {
	// The worker fails without reading; the input has no end.
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{Process: func(*fakesdk.Bundle) error { return errors.New("no") }})
	for range 3 {
		var out sink
		s := r.plain(endless{}, &out)
		_, err := wait(t, bundle.Start(t.Context(), r.h, s))
		if got, ok := sdkError(err); !ok || got != "no" {
			t.Fatalf("error %v", err)
		}
	}
}

type endless struct{}

func (endless) Next(ctx context.Context) (bundle.Chunk, error) {
	if ctx.Err() != nil {
		return bundle.Chunk{}, ctx.Err()
	}
	return bundle.Chunk{Data: make([]byte, 100<<10), Elements: 1}, nil
}

func TestDie(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{Name: "python-1"}, fakesdk.Config{Process: fakesdk.Die})
	var out sink
	src := text("x")
	src.hold = make(chan struct{})
	b := bundle.Start(t.Context(), r.h, r.plain(src, &out))
	time.AfterFunc(50*time.Millisecond, func() { close(src.hold) })
	_, err := wait(t, b)
	var dead *fnapi.DeadError
	if !errors.As(err, &dead) || dead.Worker != "python-1" {
		t.Fatalf("error %v", err)
	}
	_, err = wait(t, bundle.Start(t.Context(), r.h, r.plain(text("x"), &out)))
	if !errors.As(err, &dead) {
		t.Errorf("bundle on a dead worker: %v", err)
	}
}

func TestCancelFreesTheWorker(t *testing.T) {
	began, ended := make(chan struct{}, 2), make(chan error, 2)
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
		began <- struct{}{}
		err := fakesdk.Echo(b)
		ended <- err
		return err
	}})
	var out sink
	src := text("x")
	src.hold = make(chan struct{}) // input does not end
	ctx, cancel := context.WithCancelCause(t.Context())
	b := bundle.Start(ctx, r.h, r.withTimers(src, &out))
	<-began
	cancel(errors.New("enough"))
	if _, err := wait(t, b); err == nil || err.Error() != "enough" {
		t.Errorf("error %v", err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the worker's bundle: %v", err)
		}
	case <-time.After(fakesdk.HangLimit):
		t.Error("the worker waits for more input")
	}
	// The worker is as good as before.
	var again sink
	if _, err := wait(t, bundle.Start(t.Context(), r.h, r.plain(text("y"), &again))); err != nil || again.got("out") != "y" {
		t.Errorf("next bundle: %q, %v", again.got("out"), err)
	}
}

func TestHangIsCancelled(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{Process: fakesdk.Hang})
	var out sink
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := wait(t, bundle.Start(ctx, r.h, r.plain(endless{}, &out))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestSourceAndOutputErrors(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{})
	var out sink
	src := text("x")
	src.err = errors.New("disk on fire")
	if _, err := wait(t, bundle.Start(t.Context(), r.h, r.plain(src, &out))); !errors.Is(err, src.err) {
		t.Errorf("source: %v", err)
	}
	s := r.plain(text("x"), &out)
	full := errors.New("disk full")
	s.Output = func(string, []byte) error { return full }
	if _, err := wait(t, bundle.Start(t.Context(), r.h, s)); !errors.Is(err, full) || !strings.Contains(err.Error(), `"out"`) {
		t.Errorf("output: %v", err)
	}
	s.Descriptor = "missing"
	if _, err := wait(t, bundle.Start(t.Context(), r.h, s)); err == nil || !strings.Contains(err.Error(), `"missing"`) {
		t.Errorf("descriptor: %v", err)
	}
}

func TestLies(t *testing.T) {
	elements := func(id, transform, data string, last bool) *fnpb.Elements {
		return &fnpb.Elements{Data: []*fnpb.Elements_Data{{InstructionId: id, TransformId: transform, Data: []byte(data), IsLast: last}}}
	}
	for name, c := range map[string]struct {
		lie  func(*fakesdk.Bundle) error
		want string // part of the error; "" for success
	}{
		"wrong instruction": {func(b *fakesdk.Bundle) error {
			return b.Worker().SendElements(elements("nonsense", "out", "x", true))
		}, ""},
		"unknown transform": {func(b *fakesdk.Bundle) error { return b.Emit("elsewhere", []byte("x")) }, `"elsewhere"`},
		"unknown timer":     {func(b *fakesdk.Bundle) error { return b.EmitTimers("out", "f", []byte("x")) }, `family "f"`},
		"data after the end": {func(b *fakesdk.Bundle) error {
			_ = b.Worker().SendElements(elements(b.ID, "out", "", true))
			_ = b.Emit("out", []byte("late"))
			return fakesdk.ErrSilent
		}, "after its end"},
		"two ends": {func(b *fakesdk.Bundle) error {
			return b.Worker().SendElements(elements(b.ID, "out", "", true))
		}, ""},
		"two responses": {func(b *fakesdk.Bundle) error {
			ok := &fnpb.InstructionResponse{InstructionId: b.ID, Response: &fnpb.InstructionResponse_ProcessBundle{ProcessBundle: &fnpb.ProcessBundleResponse{}}}
			b.Worker().Respond(ok)
			b.Worker().Respond(ok)
			return nil
		}, ""},
		"response of another kind": {func(b *fakesdk.Bundle) error {
			b.Worker().Respond(&fnpb.InstructionResponse{InstructionId: b.ID, Response: &fnpb.InstructionResponse_Register{Register: &fnpb.RegisterResponse{}}})
			return fakesdk.ErrSilent
		}, "Register"},
		"response to nothing": {func(b *fakesdk.Bundle) error {
			b.Worker().Respond(&fnpb.InstructionResponse{InstructionId: "nonsense"})
			return nil
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
				if err := c.lie(b); err != nil {
					return err
				}
				_, err := b.Next()
				if err == io.EOF {
					return nil
				}
				return err
			}})
			var out sink
			_, err := wait(t, bundle.Start(t.Context(), r.h, r.plain(nil, &out)))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestStateInOrder(t *testing.T) {
	const n = 200
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
		var wg sync.WaitGroup
		for i := range n {
			wg.Add(1)
			req := &fnpb.StateRequest{Request: &fnpb.StateRequest_Append{Append: &fnpb.StateAppendRequest{Data: []byte{byte(i)}}}}
			go func() { defer wg.Done(); _, _ = b.State(req) }()
		}
		wg.Wait()
		_, err := b.State(&fnpb.StateRequest{Request: &fnpb.StateRequest_Clear{Clear: &fnpb.StateClearRequest{}}})
		if err == nil || err.Error() != "no clearing here" {
			return fmt.Errorf("clear: %v", err)
		}
		_, err = b.Worker().StateRequest(&fnpb.StateRequest{InstructionId: "nonsense"})
		if err == nil || !strings.Contains(err.Error(), "nonsense") {
			return fmt.Errorf("unknown instruction: %v", err)
		}
		return fakesdk.Echo(b)
	}})
	var out sink
	s := r.plain(nil, &out)
	var busy, calls atomic.Int32
	s.State = state(func(_ context.Context, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
		if busy.Add(1) != 1 {
			t.Error("two state calls of one bundle at a time")
		}
		defer busy.Add(-1)
		calls.Add(1)
		if req.GetClear() != nil {
			return nil, errors.New("no clearing here")
		}
		return &fnpb.StateResponse{Response: &fnpb.StateResponse_Append{}}, nil
	})
	if _, err := wait(t, bundle.Start(t.Context(), r.h, s)); err != nil {
		t.Fatal(err)
	}
	if calls.Load() != n+1 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestStatePanicIsAnError(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
		_, err := b.State(&fnpb.StateRequest{})
		return err
	}})
	var out sink
	s := r.plain(nil, &out)
	s.State = state(func(context.Context, *fnpb.StateRequest) (*fnpb.StateResponse, error) { panic("ouch") })
	_, err := wait(t, bundle.Start(t.Context(), r.h, s))
	if got, _ := sdkError(err); got != "runner error: ouch" {
		t.Errorf("error %v", err)
	}
}

func TestNoStateAfterWait(t *testing.T) {
	release := make(chan struct{})
	stateErr := make(chan error, 2)
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
		_, err := b.State(&fnpb.StateRequest{})
		stateErr <- err
		<-release
		_, err = b.State(&fnpb.StateRequest{})
		stateErr <- err
		return err
	}})
	var out sink
	s := r.plain(nil, &out)
	ctx, cancel := context.WithCancel(t.Context())
	var over atomic.Bool
	s.State = state(func(sctx context.Context, _ *fnpb.StateRequest) (*fnpb.StateResponse, error) {
		if over.Load() {
			t.Error("state was called after Wait")
		}
		cancel()
		<-sctx.Done()
		time.Sleep(20 * time.Millisecond)
		if over.Load() {
			t.Error("Wait returned while state was being served")
		}
		return nil, errors.New("cancelled")
	})
	b := bundle.Start(ctx, r.h, s)
	_, err := wait(t, b)
	over.Store(true)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(release)
	for range 2 {
		if err := <-stateErr; err == nil {
			t.Error("a state call of a cancelled bundle succeeded")
		}
	}
}

// TestSplitFractionMin: a harness that computes badly near 0 is not asked for 0.
func TestSplitFractionMin(t *testing.T) {
	inBundle, goOn := make(chan struct{}), make(chan struct{})
	fractions := make(chan float64, 2)
	r := newRig(t, fnapi.WorkerConfig{Traits: fnapi.Traits{SplitFractionMin: 0.125}}, fakesdk.Config{
		Process: func(b *fakesdk.Bundle) error {
			close(inBundle)
			<-goOn
			return fakesdk.Echo(b)
		},
		Other: func(req *fnpb.InstructionRequest) *fnpb.InstructionResponse {
			fractions <- req.GetProcessBundleSplit().GetDesiredSplits()["in"].GetFractionOfRemainder()
			return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_ProcessBundleSplit{ProcessBundleSplit: &fnpb.ProcessBundleSplitResponse{}}}
		},
	})
	var out sink
	b := bundle.Start(t.Context(), r.h, r.plain(nil, &out))
	<-inBundle
	untilRequested(t, b)
	for ask, want := range map[float64]float64{0: 0.125, 0.5: 0.5} {
		if _, err := b.Split(t.Context(), ask, 10, nil); err != nil {
			t.Fatal(err)
		}
		if got := <-fractions; got != want {
			t.Errorf("asked for %v, the harness was for %v, want %v", ask, got, want)
		}
	}
	close(goOn)
	if _, err := wait(t, b); err != nil {
		t.Fatal(err)
	}
}

func TestProgressSplitFinalizeMetrics(t *testing.T) {
	short := &pipepb.MonitoringInfo{Urn: "u", Type: "y", Labels: map[string]string{"P": "q"}}
	var asked, finalized atomic.Int32
	inBundle, goOn := make(chan struct{}), make(chan struct{})
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{
		Process: func(b *fakesdk.Bundle) error {
			close(inBundle)
			<-goOn
			b.Response.MonitoringData = map[string][]byte{"s": []byte("2"), "unheard of": nil}
			return fakesdk.Echo(b)
		},
		Other: func(req *fnpb.InstructionRequest) *fnpb.InstructionResponse {
			switch x := req.GetRequest().(type) {
			case *fnpb.InstructionRequest_ProcessBundleProgress:
				return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_ProcessBundleProgress{
					ProcessBundleProgress: &fnpb.ProcessBundleProgressResponse{MonitoringData: map[string][]byte{"s": []byte("1")}}}}
			case *fnpb.InstructionRequest_MonitoringInfos:
				asked.Add(1)
				return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_MonitoringInfos{
					MonitoringInfos: &fnpb.MonitoringInfosMetadataResponse{MonitoringInfo: map[string]*pipepb.MonitoringInfo{"s": short}}}}
			case *fnpb.InstructionRequest_ProcessBundleSplit:
				d := x.ProcessBundleSplit.GetDesiredSplits()["in"]
				if d.GetFractionOfRemainder() == 0.25 {
					return &fnpb.InstructionResponse{Error: "no"}
				}
				return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_ProcessBundleSplit{
					ProcessBundleSplit: &fnpb.ProcessBundleSplitResponse{ChannelSplits: []*fnpb.ProcessBundleSplitResponse_ChannelSplit{{TransformId: "in", FirstResidualElement: d.GetEstimatedInputElements()}}}}}
			case *fnpb.InstructionRequest_FinalizeBundle:
				finalized.Add(1)
				return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_FinalizeBundle{FinalizeBundle: &fnpb.FinalizeBundleResponse{}}}
			}
			return nil
		},
	})
	var out sink
	b := bundle.Start(t.Context(), r.h, r.plain(nil, &out))
	<-inBundle
	untilRequested(t, b)
	infos, err := b.Progress(t.Context())
	if err != nil || len(infos) != 1 || infos[0].GetUrn() != "u" || string(infos[0].GetPayload()) != "1" {
		t.Errorf("progress %v, %v", infos, err)
	}
	split, err := b.Split(t.Context(), 0.5, 10, nil)
	if err != nil || len(split.GetChannelSplits()) != 1 || split.GetChannelSplits()[0].GetFirstResidualElement() != 10 {
		t.Errorf("split %v, %v", split, err)
	}
	if split, err = b.Split(t.Context(), 0.25, 10, nil); err == nil || split == nil || len(split.GetChannelSplits()) != 0 {
		t.Errorf("failed split %v, %v", split, err)
	}
	close(goOn)
	res, err := wait(t, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Infos) != 1 || string(res.Infos[0].GetPayload()) != "2" || res.Infos[0].GetLabels()["P"] != "q" {
		t.Errorf("infos %v", res.Infos)
	}
	if asked.Load() != 2 { // "s" once, "unheard of" once
		t.Errorf("asked %d times for short ids", asked.Load())
	}
	if infos, err := b.Progress(t.Context()); infos != nil || err != nil {
		t.Errorf("progress after the end: %v, %v", infos, err)
	}
	if err := bundle.Finalize(t.Context(), r.h, b.Instruction()); err != nil || finalized.Load() != 1 {
		t.Errorf("finalize: %v", err)
	}
}

func TestOutputIsNeverClosed(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
		b.KeepOpen = b.Sinks
		return fakesdk.Echo(b)
	}})
	var out sink
	s := r.plain(text("x"), &out)
	s.CloseTimeout = 50 * time.Millisecond
	_, err := wait(t, bundle.Start(t.Context(), r.h, s))
	if err == nil || !strings.Contains(err.Error(), `output "out" did not end`) {
		t.Errorf("error %v", err)
	}
}

func TestFlushIsSentAtOnce(t *testing.T) {
	got := make(chan string, 10)
	r := newRig(t, fnapi.WorkerConfig{Capabilities: []string{urn.ProtocolControlRequestElementsEmbedding}},
		fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
			for {
				i, err := b.Next()
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
				got <- string(i.Data)
			}
		}})
	var out sink
	src := &chunks{c: []bundle.Chunk{{Data: []byte("a"), Elements: 1, Flush: true}}, hold: make(chan struct{})}
	b := bundle.Start(t.Context(), r.h, r.plain(src, &out))
	select {
	case s := <-got:
		if s != "a" || b.Sent() != 1 {
			t.Errorf("got %q, sent %d", s, b.Sent())
		}
	case <-time.After(fakesdk.HangLimit):
		t.Error("the first chunk was not sent")
	}
	close(src.hold)
	if _, err := wait(t, b); err != nil {
		t.Fatal(err)
	}
}

func TestAnswerBeforeTheInput(t *testing.T) {
	r := newRig(t, fnapi.WorkerConfig{}, fakesdk.Config{Process: func(*fakesdk.Bundle) error { return nil }})
	var out sink
	src := &chunks{c: []bundle.Chunk{{Data: []byte("a"), Elements: 1}}, hold: make(chan struct{})}
	_, err := wait(t, bundle.Start(t.Context(), r.h, r.plain(src, &out)))
	if err == nil || !strings.Contains(err.Error(), "before it had got all of its input") {
		t.Errorf("error %v", err)
	}
}
