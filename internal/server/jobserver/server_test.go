package jobserver_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/server/jobserver"
	"github.com/pharos-beam/pharos/internal/server/servertest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// dial serves the Jobs API on fake jobs in this process.
func dial(t *testing.T, jobs *servertest.Jobs) jobpb.JobServiceClient {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	g := grpc.NewServer(jobserver.Announce("1.2.3", "http://localhost:8074"))
	jobserver.New(jobserver.Options{
		Jobs: jobs, StagingEndpoint: "localhost:8073",
		Describe: []*jobpb.PipelineOptionDescriptor{{Name: "max_attempts", Type: jobpb.PipelineOptionType_INTEGER}},
	}).Register(g)
	go g.Serve(lis)
	t.Cleanup(g.Stop)
	cc, err := grpc.NewClient("passthrough:///fake", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return jobpb.NewJobServiceClient(cc)
}

func pipeline() *pipepb.Pipeline { return &pipepb.Pipeline{RootTransformIds: []string{"root"}} }

func prepare(t *testing.T, c jobpb.JobServiceClient) string {
	t.Helper()
	r, err := c.Prepare(t.Context(), &jobpb.PrepareJobRequest{JobName: "wordcount", Pipeline: pipeline()})
	if err != nil {
		t.Fatal(err)
	}
	if r.GetArtifactStagingEndpoint().GetUrl() == "" || r.GetStagingSessionToken() == "" {
		t.Errorf("Prepare answered %v: no place to stage artifacts", r)
	}
	return r.GetPreparationId()
}

// collect reads a stream to its end, which must come by itself.
func collect[T any](t *testing.T, recv func() (T, error)) []T {
	t.Helper()
	var out []T
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
}

// TestPythonOrder does what Python's client does: both streams on the
// preparation id, the first state at once, then Run, then both to their end.
func TestPythonOrder(t *testing.T) {
	jobs := &servertest.Jobs{OnRun: func(j *servertest.Job) {
		j.Say(jobpb.JobMessage_JOB_MESSAGE_BASIC, "at work")
		j.Enter(jobpb.JobState_DONE)
	}}
	c := dial(t, jobs)
	if _, err := c.DescribePipelineOptions(t.Context(), &jobpb.DescribePipelineOptionsRequest{}); err != nil {
		t.Fatal(err)
	}
	id := prepare(t, c)
	states, err := c.GetStateStream(t.Context(), &jobpb.GetJobStateRequest{JobId: id})
	if err != nil {
		t.Fatal(err)
	}
	first, err := states.Recv()
	if err != nil || first.GetState() != jobpb.JobState_STOPPED {
		t.Fatalf("first state %v, %v, want STOPPED at once", first, err)
	}
	messages, err := c.GetMessageStream(t.Context(), &jobpb.JobMessagesRequest{JobId: id})
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.Run(t.Context(), &jobpb.RunJobRequest{PreparationId: id})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range collect(t, states.Recv) {
		got = append(got, s.GetState().String())
	}
	if want := "RUNNING DONE"; strings.Join(got, " ") != want {
		t.Errorf("states after the first: %v, want %s", got, want)
	}
	got = nil
	for _, m := range collect(t, messages.Recv) {
		if m.GetMessageResponse() != nil {
			got = append(got, m.GetMessageResponse().GetMessageText())
		} else {
			got = append(got, m.GetStateResponse().GetState().String())
		}
	}
	if want := "STOPPED|RUNNING|at work|DONE"; strings.Join(got, "|") != want {
		t.Errorf("message stream: %v, want %s", got, want)
	}
	m, err := c.GetJobMetrics(t.Context(), &jobpb.GetJobMetricsRequest{JobId: run.GetJobId()})
	if err != nil || m.GetMetrics() == nil {
		t.Errorf("metrics %v, %v: want some, if empty", m, err)
	}
}

// TestPythonDeadline does what Python's client does with its default options:
// streams on the preparation id have a deadline, which must not end a job that
// takes longer, so it has to be sent away to open them after Run.
func TestPythonDeadline(t *testing.T) {
	jobs := &servertest.Jobs{}
	c := dial(t, jobs)
	id := prepare(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	early, err := c.GetStateStream(ctx, &jobpb.GetJobStateRequest{JobId: id})
	if err == nil {
		_, err = early.Recv()
	}
	if status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("the stream before Run: %v, want FAILED_PRECONDITION", err)
	}
	run, err := c.Run(t.Context(), &jobpb.RunJobRequest{PreparationId: id})
	if err != nil {
		t.Fatal(err)
	}
	for _, ctx := range []context.Context{ctx, t.Context()} {
		late, err := c.GetStateStream(ctx, &jobpb.GetJobStateRequest{JobId: run.GetJobId()})
		if err == nil {
			_, err = late.Recv()
		}
		if err != nil {
			t.Errorf("a stream after Run: %v", err)
		}
	}
}

// TestLateStateStream opens the stream after the end: history is not replayed.
func TestLateStateStream(t *testing.T) {
	jobs := &servertest.Jobs{}
	c := dial(t, jobs)
	j := jobs.Add("x")
	j.Enter(jobpb.JobState_RUNNING)
	j.Enter(jobpb.JobState_FAILED)
	s, err := c.GetStateStream(t.Context(), &jobpb.GetJobStateRequest{JobId: j.ID()})
	if err != nil {
		t.Fatal(err)
	}
	got := collect(t, s.Recv)
	if len(got) != 1 || got[0].GetState() != jobpb.JobState_FAILED {
		t.Errorf("states %v, want FAILED once", got)
	}
}

func TestFailureIsExplained(t *testing.T) {
	for name, say := range map[string]string{"silent": "", "traceback": "boom \xff " + strings.Repeat("ü", 1<<20)} {
		t.Run(name, func(t *testing.T) {
			jobs := &servertest.Jobs{OnRun: func(j *servertest.Job) {
				if say != "" {
					j.Say(jobpb.JobMessage_JOB_MESSAGE_ERROR, say)
				}
				j.Enter(jobpb.JobState_FAILED)
			}}
			c := dial(t, jobs)
			id := prepare(t, c)
			if _, err := c.Run(t.Context(), &jobpb.RunJobRequest{PreparationId: id}); err != nil {
				t.Fatal(err)
			}
			s, err := c.GetMessageStream(t.Context(), &jobpb.JobMessagesRequest{JobId: id})
			if err != nil {
				t.Fatal(err)
			}
			got := collect(t, s.Recv)
			if n := len(got); got[n-1].GetStateResponse().GetState() != jobpb.JobState_FAILED {
				t.Fatalf("the stream ends with %v", got[n-1])
			}
			m := got[len(got)-2].GetMessageResponse()
			if m.GetImportance() != jobpb.JobMessage_JOB_MESSAGE_ERROR || m.GetTime() == "" {
				t.Errorf("before FAILED came %v, want an error with its time", m)
			}
			text := m.GetMessageText()
			if len(text) > 1<<20 || !utf8.ValidString(text) {
				t.Errorf("the text has %d bytes, valid UTF-8: %v", len(text), utf8.ValidString(text))
			}
			if say != "" && (!strings.HasPrefix(text, "boom") || !strings.HasSuffix(text, "ü")) {
				t.Errorf("the text lost its head or tail: %.20q", text)
			}
		})
	}
}

// TestStreamEndsWithClient: a stream of a job that waits lives as long as its
// client wants.
func TestStreamEndsWithClient(t *testing.T) {
	jobs := &servertest.Jobs{}
	c := dial(t, jobs)
	j := jobs.Add("x")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s, err := c.GetMessageStream(ctx, &jobpb.JobMessagesRequest{JobId: j.ID()})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the stream of a waiting job ended with %v", err)
	}
}

func TestErrors(t *testing.T) {
	jobs := &servertest.Jobs{}
	c := dial(t, jobs)
	id := prepare(t, c)
	ctx := t.Context()
	run := func(id string) error {
		_, err := c.Run(ctx, &jobpb.RunJobRequest{PreparationId: id})
		return err
	}
	stream := func(id string) error {
		s, err := c.GetMessageStream(ctx, &jobpb.JobMessagesRequest{JobId: id})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	states := func(id string) error {
		s, err := c.GetStateStream(ctx, &jobpb.GetJobStateRequest{JobId: id})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	second := func(_ any, err error) error { return err }
	if err := run(id); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		err  error
		code codes.Code
		text string
	}{
		{"prepare nothing", second(c.Prepare(ctx, &jobpb.PrepareJobRequest{})), codes.InvalidArgument, "no pipeline"},
		{"prepare rubbish", second(c.Prepare(ctx, &jobpb.PrepareJobRequest{Pipeline: &pipepb.Pipeline{}})), codes.InvalidArgument, "no other merit"},
		{"run unknown", run("nobody"), codes.NotFound, "nobody"},
		{"run nothing", run(""), codes.InvalidArgument, ""},
		{"run twice", run(id), codes.FailedPrecondition, "RUNNING"},
		{"messages of unknown", stream("nobody"), codes.NotFound, ""},
		{"states of unknown", states("nobody"), codes.NotFound, ""},
		{"state of unknown", second(c.GetState(ctx, &jobpb.GetJobStateRequest{JobId: "nobody"})), codes.NotFound, ""},
		{"pipeline of unknown", second(c.GetPipeline(ctx, &jobpb.GetJobPipelineRequest{JobId: "nobody"})), codes.NotFound, ""},
		{"metrics of unknown", second(c.GetJobMetrics(ctx, &jobpb.GetJobMetricsRequest{JobId: "nobody"})), codes.NotFound, ""},
		{"cancel unknown", second(c.Cancel(ctx, &jobpb.CancelJobRequest{JobId: "nobody"})), codes.NotFound, ""},
		{"drain unknown", second(c.Drain(ctx, &jobpb.DrainJobRequest{JobId: "nobody"})), codes.NotFound, ""},
	} {
		if status.Code(c.err) != c.code || !strings.Contains(c.err.Error(), c.text) {
			t.Errorf("%s: %v, want %v with %q", c.what, c.err, c.code, c.text)
		}
	}
}

func TestDrain(t *testing.T) {
	c := dial(t, &servertest.Jobs{})
	id := prepare(t, c)
	for range 2 { // the second time it has ended already
		r, err := c.Drain(t.Context(), &jobpb.DrainJobRequest{JobId: id})
		if err != nil || r.GetState() != jobpb.JobState_DRAINED {
			t.Errorf("drain: %v, %v", r, err)
		}
	}
}

func TestCancelAndList(t *testing.T) {
	jobs := &servertest.Jobs{}
	c := dial(t, jobs)
	id := prepare(t, c)
	for range 2 { // the second time it has ended already
		r, err := c.Cancel(t.Context(), &jobpb.CancelJobRequest{JobId: id})
		if err != nil || r.GetState() != jobpb.JobState_CANCELLED {
			t.Errorf("cancel: %v, %v", r, err)
		}
	}
	l, err := c.GetJobs(t.Context(), &jobpb.GetJobsRequest{})
	if err != nil || len(l.GetJobInfo()) != 1 || l.GetJobInfo()[0].GetJobName() != "wordcount" || l.GetJobInfo()[0].GetPipelineOptions() == nil {
		t.Errorf("jobs: %v, %v", l, err)
	}
	p, err := c.GetPipeline(t.Context(), &jobpb.GetJobPipelineRequest{JobId: id})
	if err != nil || len(p.GetPipeline().GetRootTransformIds()) != 1 {
		t.Errorf("pipeline: %v, %v", p, err)
	}
}

// TestAnnounce: every answer says who gave it, an error too.
func TestAnnounce(t *testing.T) {
	c := dial(t, &servertest.Jobs{})
	var header metadata.MD
	if _, err := c.DescribePipelineOptions(t.Context(), &jobpb.DescribePipelineOptionsRequest{}, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	got := append(header.Get(jobserver.VersionHeader), header.Get(jobserver.HTTPHeader)...)
	if want := []string{"1.2.3", "http://localhost:8074"}; !slices.Equal(got, want) {
		t.Errorf("the server says it is %q, want %q", got, want)
	}
	header = nil
	if _, err := c.Run(t.Context(), &jobpb.RunJobRequest{PreparationId: "nobody"}, grpc.Header(&header)); err == nil || len(header.Get(jobserver.VersionHeader)) != 1 {
		t.Errorf("an error came with %v (%v)", header, err)
	}
}
