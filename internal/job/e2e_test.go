package job_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

// jobTimeout bounds every job of these tests: none may hang.
const jobTimeout = 3 * time.Minute

// rig is a manager and a service that starts fake workers for its jobs.
type rig struct {
	t    *testing.T
	m    *job.Manager
	pool *pool
	srv  *fnapi.Server
}

// pool is a worker pool service, as LOOPBACK has one.
type pool struct {
	fnpb.UnimplementedBeamFnExternalWorkerPoolServer
	addr    string
	mu      sync.Mutex
	config  fakesdk.Config
	workers map[string]*fakesdk.Worker
	stop    func() // ends the service
	ended   bool   // the test has
	started int
}

func (p *pool) StartWorker(_ context.Context, req *fnpb.StartWorkerRequest) (*fnpb.StartWorkerResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.config
	c.Target, c.ID = req.GetControlEndpoint().GetUrl(), req.GetWorkerId()
	w, err := fakesdk.Start(c)
	if err != nil {
		return &fnpb.StartWorkerResponse{Error: err.Error()}, nil
	}
	if p.ended {
		w.Stop()
	}
	p.workers[c.ID] = w
	p.started++
	return &fnpb.StartWorkerResponse{}, nil
}

func (p *pool) StopWorker(_ context.Context, req *fnpb.StopWorkerRequest) (*fnpb.StopWorkerResponse, error) {
	p.mu.Lock()
	w := p.workers[req.GetWorkerId()]
	delete(p.workers, req.GetWorkerId())
	p.mu.Unlock()
	if w != nil {
		w.Stop()
	}
	return &fnpb.StopWorkerResponse{}, nil
}

// end stops the workers that nobody has stopped: a request to do so may have
// come too late, or not at all.
func (p *pool) end() {
	p.mu.Lock()
	p.ended = true
	left := maps.Clone(p.workers)
	p.mu.Unlock()
	for _, w := range left {
		w.Stop()
	}
}

// serve runs a gRPC server for the test.
func serve(t *testing.T, register func(g *grpc.Server, addr string), opts ...grpc.ServerOption) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(opts...)
	register(g, lis.Addr().String())
	go g.Serve(lis)
	t.Cleanup(g.Stop)
}

func newRig(t *testing.T) *rig { return newRigOf(t, plan.Options{}) }

// newRigOf is a rig whose manager plans in a certain way.
func newRigOf(t *testing.T, planning plan.Options) *rig {
	r := newServices(t)
	sp, err := spool.Open(spool.Options{Dir: t.TempDir(), MemoryBudget: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sp.Close() })
	o := r.options(sp, store.NewMem())
	o.Plan = planning
	r.m = job.NewManager(o)
	t.Cleanup(func() {
		r.close()
		if live := sp.Stats(); live.Blocks != 0 {
			t.Errorf("the jobs left %d blocks", live.Blocks)
		}
	})
	return r
}

func (r *rig) options(sp *spool.Spool, kv store.Store) job.Options {
	return job.Options{
		Log: slog.New(slog.DiscardHandler), Store: kv, Spool: sp, FnAPI: r.srv, Endpoint: r.srv.Endpoint(), TempDir: r.t.TempDir(),
		Core: core.Config{IdleSplitMS: 50},
	}
}

// close stops the manager.
func (r *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), jobTimeout)
	defer cancel()
	if err := r.m.Close(ctx); err != nil {
		r.t.Error(err)
	}
}

// newServices is a rig without a manager.
func newServices(t *testing.T) *rig {
	r := &rig{t: t, pool: &pool{workers: map[string]*fakesdk.Worker{}}}
	t.Cleanup(r.pool.end)
	serve(t, func(g *grpc.Server, addr string) {
		r.pool.addr, r.pool.stop = addr, g.Stop
		fnpb.RegisterBeamFnExternalWorkerPoolServer(g, r.pool)
	})
	srv := fnapi.NewServer(fnapi.Options{})
	serve(t, func(g *grpc.Server, addr string) {
		srv.SetEndpoint(addr)
		srv.Register(g)
	}, fnapi.ServerOptions()...)
	r.srv = srv
	return r
}

// pipeline is three stages: make, a ParDo that emits elements; use, in another
// environment, which gets them in one bundle; collect.
func (r *rig) pipeline() *pipepb.Pipeline {
	p := plantest.New()
	made := p.ParDo("make", "a", p.Impulse("impulse"), "bytes")
	used := p.ParDo("use", "b", made, "bytes")
	p.ParDo("collect", "a", p.Runner("reshuffle", urn.Reshuffle, "bytes", used), "bytes")
	r.attach(p.Pipeline)
	return p.Pipeline
}

// attach gives the environments of a pipeline the fake workers.
func (r *rig) attach(p *pipepb.Pipeline) {
	payload, _ := proto.Marshal(&pipepb.ExternalPayload{Endpoint: &pipepb.ApiServiceDescriptor{Url: r.pool.addr}})
	for _, env := range p.GetComponents().GetEnvironments() {
		env.Payload = payload
	}
}

// sdk is the user code of the pipeline.
type sdk struct {
	elements int    // of make
	make     func() // called by make; may be nil
	use      func(*fakesdk.Bundle) error
	other    func(*fnpb.InstructionRequest) *fnpb.InstructionResponse
	mu       sync.Mutex
	got      []string // by collect
}

func (s *sdk) process(b *fakesdk.Bundle) error {
	has := func(id string) bool { return b.Descriptor.GetTransforms()[id] != nil }
	switch {
	case has("make"):
		if s.make != nil {
			s.make()
		}
		var data []byte
		for n := range s.elements {
			data = append(data, encode(fmt.Sprintf("e%02d", n))...)
		}
		if _, err := readAll(b); err != nil {
			return err
		}
		return b.Emit(b.Sinks[0], data)
	case has("use"):
		if s.use != nil {
			return s.use(b)
		}
		return fakesdk.Echo(b)
	}
	got, err := readAll(b)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, got...)
	return nil
}

func encode(s string) []byte {
	b := coder.AppendHeader(nil, timestamp.Min, nil, 1, coder.NoFiring)
	return append(coder.AppendVarint(b, uint64(len(s))), s...)
}

// header is the length of everything before the text of an element.
var header = len(encode(""))

func decode(data []byte) (got []string) {
	for len(data) > 0 {
		n := int(data[header-1])
		got = append(got, string(data[header:header+n]))
		data = data[header+n:]
	}
	return got
}

func readAll(b *fakesdk.Bundle) (got []string, err error) {
	for {
		i, err := b.Next()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return nil, err
		}
		got = append(got, decode(i.Data)...)
	}
}

// run runs the pipeline to its end and returns the last state and the error
// message.
func (r *rig) run(s *sdk, during func(*job.Job)) (jobpb.JobState_Enum, string) {
	r.t.Helper()
	return r.runs(r.pipeline(), fakesdk.Config{Process: s.process, Other: s.other}, during)
}

// runs does so with any pipeline, whose environments all get workers of config.
func (r *rig) runs(p *pipepb.Pipeline, config fakesdk.Config, during func(*job.Job)) (jobpb.JobState_Enum, string) {
	r.t.Helper()
	r.pool.mu.Lock()
	r.pool.config = config
	r.pool.mu.Unlock()
	r.attach(p)
	ctx, cancel := context.WithTimeout(r.t.Context(), jobTimeout)
	defer cancel()
	j, err := r.m.Prepare(ctx, &jobpb.PrepareJobRequest{JobName: "test", Pipeline: p})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.m.Run(ctx, j.ID()); err != nil {
		r.t.Fatal(err)
	}
	if during != nil {
		during(j)
	}
	text := ""
	for e := range j.Events(ctx) {
		if e.Message.GetImportance() == jobpb.JobMessage_JOB_MESSAGE_ERROR {
			text = e.Message.GetMessageText()
		}
	}
	if ctx.Err() != nil {
		r.t.Fatal("the job does not end")
	}
	st, _ := j.State()
	return st, text
}

// fails runs a job that must fail with the texts, and then one that must not.
func (r *rig) fails(s *sdk, texts ...string) {
	r.t.Helper()
	st, msg := r.run(s, nil)
	if st != jobpb.JobState_FAILED {
		r.t.Errorf("state %v, want FAILED", st)
	}
	for _, text := range texts {
		if !strings.Contains(msg, text) {
			r.t.Errorf("error %q does not say %q", msg, text)
		}
	}
	r.works(&sdk{elements: 10})
}

// works runs a job that must succeed with every element seen once.
func (r *rig) works(s *sdk) {
	r.t.Helper()
	st, msg := r.run(s, nil)
	if st != jobpb.JobState_DONE {
		r.t.Fatalf("state %v: %s", st, msg)
	}
	var want []string
	for n := range s.elements {
		want = append(want, fmt.Sprintf("e%02d", n))
	}
	slices.Sort(s.got)
	if !slices.Equal(s.got, want) {
		r.t.Errorf("collected %v, want %v", s.got, want)
	}
}

func TestJob(t *testing.T) { newRig(t).works(&sdk{elements: 10}) }

func TestFailingDoFn(t *testing.T) {
	var attempts atomic.Int32
	newRig(t).fails(&sdk{elements: 1, use: func(b *fakesdk.Bundle) error {
		attempts.Add(1)
		return fakesdk.Fail("no\nsuch luck")(b)
	}}, "no\nsuch luck", "use", "4 attempts")
	if attempts.Load() != 4 {
		t.Errorf("%d attempts, want 4", attempts.Load())
	}
}

// What failed once leaves nothing behind, neither output nor lost input.
func TestFailureThatPasses(t *testing.T) {
	var calls atomic.Int32
	newRig(t).works(&sdk{elements: 30, use: func(b *fakesdk.Bundle) error {
		if calls.Add(1)%2 == 1 {
			if err := b.Emit(b.Sinks[0], encode("from the attempt that fails")); err != nil {
				return err
			}
			return errors.New("not this time")
		}
		return fakesdk.Echo(b)
	}})
}

// An environment that cannot run ends the job in one line, before anything
// starts.
func TestEnvironmentThatCannotRun(t *testing.T) {
	r := newRig(t)
	p := r.pipeline()
	p.Components.Environments["b"] = &pipepb.Environment{Urn: urn.EnvDocker}
	j, err := r.m.Prepare(t.Context(), &jobpb.PrepareJobRequest{Pipeline: p})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.m.Run(t.Context(), j.ID()); err != nil {
		t.Fatal(err)
	}
	text := ""
	for e := range j.Events(t.Context()) {
		text += e.Message.GetMessageText()
	}
	if st, _ := j.State(); st != jobpb.JobState_FAILED || !strings.HasPrefix(text, `transform use: environment "b": docker`) || strings.Contains(text, "\n") {
		t.Errorf("%v %q", st, text)
	}
	if r.pool.started > 0 {
		t.Errorf("%d workers were started", r.pool.started)
	}
}

func TestDeadWorkerIsReplaced(t *testing.T) {
	var died atomic.Bool
	r := newRig(t)
	r.works(&sdk{elements: 30, use: func(b *fakesdk.Bundle) error {
		if died.CompareAndSwap(false, true) {
			return fakesdk.Die(b)
		}
		return fakesdk.Echo(b)
	}})
	if r.pool.started < 2 {
		t.Errorf("%d workers were started", r.pool.started)
	}
}

func TestWorkersThatAlwaysDie(t *testing.T) {
	newRig(t).fails(&sdk{elements: 1, use: fakesdk.Die}, "dead")
}

func TestCancel(t *testing.T) {
	inside := make(chan struct{}, 100)
	s := &sdk{elements: 1, use: func(b *fakesdk.Bundle) error {
		inside <- struct{}{}
		return fakesdk.Hang(b)
	}}
	r := newRig(t)
	start := time.Now()
	st, _ := r.run(s, func(j *job.Job) {
		<-inside
		j.Cancel()
	})
	if st != jobpb.JobState_CANCELLED || time.Since(start) > time.Minute {
		t.Errorf("state %v after %v", st, time.Since(start))
	}
	r.works(&sdk{elements: 3})
}

func TestHarnessThatLies(t *testing.T) {
	emit := func(do func(b *fakesdk.Bundle) error) func(b *fakesdk.Bundle) error {
		return func(b *fakesdk.Bundle) error {
			if _, err := readAll(b); err != nil {
				return err
			}
			return do(b)
		}
	}
	for _, c := range []struct {
		name  string
		use   func(*fakesdk.Bundle) error
		texts []string
	}{
		{"truncated output", emit(func(b *fakesdk.Bundle) error {
			return b.Emit(b.Sinks[0], bytes.TrimSuffix(encode("whole"), []byte("e")))
		}), []string{"ended in the middle of element"}},
		{"no element at all", emit(func(b *fakesdk.Bundle) error {
			return b.Emit(b.Sinks[0], bytes.Repeat([]byte{0xff}, 100))
		}), []string{"malformed"}},
		{"unknown output", emit(func(b *fakesdk.Bundle) error {
			return b.Emit("elsewhere", encode("x"))
		}), []string{"elsewhere"}},
		{"unknown timers", emit(func(b *fakesdk.Bundle) error {
			return b.EmitTimers("use", "family", []byte("x"))
		}), []string{"family"}},
		{"residual of a ParDo", emit(func(b *fakesdk.Bundle) error {
			b.Response.ResidualRoots = []*fnpb.DelayedBundleApplication{{Application: &fnpb.BundleApplication{TransformId: "use", Element: encode("x")}}}
			return nil
		}), []string{"not splittable"}},
		{"state of a ParDo without", emit(func(b *fakesdk.Bundle) error {
			_, err := b.State(&fnpb.StateRequest{
				StateKey: &fnpb.StateKey{Type: &fnpb.StateKey_BagUserState_{BagUserState: &fnpb.StateKey_BagUserState{TransformId: "use", UserStateId: "s"}}},
				Request:  &fnpb.StateRequest_Get{Get: &fnpb.StateGetRequest{}},
			})
			return err
		}), []string{"no user state"}},
		{"state of no kind", emit(func(b *fakesdk.Bundle) error {
			_, err := b.State(&fnpb.StateRequest{StateKey: &fnpb.StateKey{}, Request: &fnpb.StateRequest_Get{Get: &fnpb.StateGetRequest{}}})
			return err
		}), []string{"state key"}},
		{"state request of no kind", emit(func(b *fakesdk.Bundle) error {
			_, err := b.State(&fnpb.StateRequest{StateKey: &fnpb.StateKey{Type: &fnpb.StateKey_Runner_{Runner: &fnpb.StateKey_Runner{Key: []byte("?")}}}})
			return err
		}), []string{"state"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			newRig(t).fails(&sdk{elements: 2, use: c.use}, append(c.texts, "use")...)
		})
	}
}

// splitting is an SDK that processes one element after the other and can be
// asked to give some back.
type splitting struct {
	mu      sync.Mutex
	bundles map[string]*progress
	splits  int
	fail    func() error                                                                          // asked at the end of a bundle
	answer  func(p *progress, d *fnpb.ProcessBundleSplitRequest_DesiredSplit, port string) answer // nil: honest
}

type answer struct {
	split *fnpb.ProcessBundleSplitResponse
	err   string
	// silent: there is none.
	silent bool
}

type progress struct {
	port string
	at   int // the element in process
	stop int // the first not to be processed; -1: none
	// answered is closed at the first answer to a split.
	answered chan struct{}
	once     sync.Once
}

// splitWait bounds how long a bundle waits to be asked for a split.
const splitWait = jobTimeout

// stepTime is how long an element takes: long enough for a bundle to be split.
const stepTime = 8 * time.Millisecond

func (s *splitting) use(b *fakesdk.Bundle) error {
	p := &progress{port: b.Sources[0], stop: -1, answered: make(chan struct{})}
	s.mu.Lock()
	if s.bundles == nil {
		s.bundles = map[string]*progress{}
	}
	s.bundles[b.ID] = p
	s.mu.Unlock()
	all, err := readAll(b)
	if err != nil {
		return err
	}
	for i, e := range all {
		s.mu.Lock()
		p.at = i
		stopped := p.stop >= 0 && i >= p.stop
		s.mu.Unlock()
		if stopped {
			break
		}
		time.Sleep(stepTime)
		if err := b.Emit(b.Sinks[0], encode(e)); err != nil {
			return err
		}
	}
	if s.answer != nil {
		select { // a liar gets its chance, however slow the machine is
		case <-p.answered:
		case <-time.After(splitWait):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.bundles, b.ID)
	if s.fail != nil {
		return s.fail()
	}
	return nil
}

func (s *splitting) other(req *fnpb.InstructionRequest) *fnpb.InstructionResponse {
	q := req.GetProcessBundleSplit()
	if q == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	resp := answer{split: &fnpb.ProcessBundleSplitResponse{}}
	if p := s.bundles[q.GetInstructionId()]; p != nil {
		d := q.GetDesiredSplits()[p.port]
		if s.answer != nil {
			resp = s.answer(p, d, p.port)
			p.once.Do(func() { close(p.answered) })
		} else if end := int(d.GetEstimatedInputElements()); p.at+1 < end {
			p.stop = p.at + 1 + int(float64(end-p.at-1)*d.GetFractionOfRemainder())
			s.splits++
			resp.split = channelSplit(p.port, int64(p.stop-1), int64(p.stop))
		}
	}
	if resp.silent {
		return fakesdk.Silent
	}
	if resp.err != "" {
		return &fnpb.InstructionResponse{Error: resp.err}
	}
	return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_ProcessBundleSplit{ProcessBundleSplit: resp.split}}
}

func channelSplit(port string, last, first int64) *fnpb.ProcessBundleSplitResponse {
	return &fnpb.ProcessBundleSplitResponse{ChannelSplits: []*fnpb.ProcessBundleSplitResponse_ChannelSplit{
		{TransformId: port, LastPrimaryElement: last, FirstResidualElement: first}}}
}

// Bundles that are split while they run, and fail after that, lose nothing and
// repeat nothing.
func TestSplits(t *testing.T) {
	for _, failures := range []int{0, 3} {
		t.Run(fmt.Sprintf("%d failures", failures), func(t *testing.T) {
			s := &splitting{}
			left := failures
			s.fail = func() error {
				if left == 0 {
					return nil
				}
				left--
				return errors.New("not this time")
			}
			r := newRig(t)
			r.works(&sdk{elements: 60, use: s.use, other: s.other})
			if s.splits == 0 {
				t.Error("nothing was split")
			}
		})
	}
}

// A harness that has been asked to split and does not say whether it did might
// have left out elements.
func TestUnansweredSplit(t *testing.T) {
	defer job.SetSplitTimeout(200 * time.Millisecond)()
	s := &splitting{answer: func(*progress, *fnpb.ProcessBundleSplitRequest_DesiredSplit, string) answer {
		return answer{silent: true}
	}}
	newRig(t).fails(&sdk{elements: 20, use: s.use, other: s.other}, "split of a bundle")
}

func TestLyingSplits(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(p *progress, d *fnpb.ProcessBundleSplitRequest_DesiredSplit, port string) answer
		texts  []string
	}{
		{"overlap", func(*progress, *fnpb.ProcessBundleSplitRequest_DesiredSplit, string) answer {
			return answer{split: channelSplit("", 3, 2)}
		}, []string{"impossible channel split"}},
		{"gap", func(_ *progress, _ *fnpb.ProcessBundleSplitRequest_DesiredSplit, port string) answer {
			return answer{split: channelSplit(port, 0, 2)}
		}, []string{"gap"}},
		{"of something else", func(*progress, *fnpb.ProcessBundleSplitRequest_DesiredSplit, string) answer {
			return answer{split: channelSplit("elsewhere", 0, 1)}
		}, []string{"elsewhere"}},
		{"two of one input", func(_ *progress, _ *fnpb.ProcessBundleSplitRequest_DesiredSplit, port string) answer {
			split := channelSplit(port, 0, 1)
			split.ChannelSplits = append(split.ChannelSplits, split.ChannelSplits...)
			return answer{split: split}
		}, []string{"2 channel splits"}},
		{"residual that is no element", func(_ *progress, _ *fnpb.ProcessBundleSplitRequest_DesiredSplit, port string) answer {
			split := channelSplit(port, 0, 2)
			split.ResidualRoots = []*fnpb.DelayedBundleApplication{{Application: &fnpb.BundleApplication{TransformId: "use", Element: []byte{1}}}}
			return answer{split: split}
		}, []string{"not an element"}},
		{"error", func(*progress, *fnpb.ProcessBundleSplitRequest_DesiredSplit, string) answer {
			return answer{err: "the tracker is broken"}
		}, []string{"the tracker is broken"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &splitting{answer: c.answer}
			newRig(t).fails(&sdk{elements: 40, use: s.use, other: s.other}, c.texts...)
		})
	}
}
