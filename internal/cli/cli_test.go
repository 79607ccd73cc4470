package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/server"
	"github.com/pharos-beam/pharos/internal/server/servertest"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// The scripts run two programs: pharos, with an engine whose jobs do what their
// name says, and beamjob, which submits a job like an SDK's client.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pharos": func() {
			os.Exit(Main(os.Args[1:], &Env{
				Stdin: os.Stdin, Stdout: os.Stdout, Stderr: &looker{w: os.Stderr}, Version: "v0-test", NewEngine: fakeEngine,
			}))
		},
		"beamjob": beamjob,
	})
}

// seen is closed when the program has said that a job is at work.
var seen = make(chan struct{})

// looker looks for that in what passes.
type looker struct {
	w    io.Writer
	once sync.Once
}

func (l *looker) Write(b []byte) (int, error) {
	for _, text := range []string{"waiting for job", "stages done"} {
		if bytes.Contains(b, []byte(text)) {
			defer l.once.Do(func() { close(seen) })
		}
	}
	return l.w.Write(b)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PHAROS_SERVER", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// waitfile FILE: until it is there.
			"waitfile": func(ts *testscript.TestScript, _ bool, args []string) {
				for range 6000 {
					if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
				ts.Fatalf("%s does not appear", args[0])
			},
			// fromjson VAR KEY FILE: sets VAR to the string at KEY.
			"fromjson": func(ts *testscript.TestScript, _ bool, args []string) {
				v, err := stringAt(ts.ReadFile(args[2]), args[1])
				ts.Check(err)
				ts.Setenv(args[0], v)
			},
		},
	})
}

func fakeEngine(c EngineConfig) (*Engine, error) {
	if _, bad := c.Overrides["bad"]; bad {
		return nil, fmt.Errorf("the engine does not like the environment %q", "bad")
	}
	jobs := &servertest.Jobs{OnRun: play}
	return &Engine{Jobs: jobs, Close: func(context.Context) error {
		for _, j := range jobs.Jobs() {
			j.Cancel()
		}
		return nil
	}}, nil
}

// play does what the job's name says.
func play(j *servertest.Job) {
	j.Set(fakePlan(), fakeProgress(), nil, fakeMetrics())
	j.Log(server.LogLine{At: time.Now(), Severity: "INFO", Message: "hello from the worker", Worker: "w1", Transform: "Count"})
	j.Say(jobpb.JobMessage_JOB_MESSAGE_BASIC, "at work")
	switch j.Name() {
	case "fails":
		j.Say(jobpb.JobMessage_JOB_MESSAGE_ERROR, "ValueError: boom")
		j.Enter(jobpb.JobState_FAILED)
	case "stays":
	case "slow": // until the program has said that it is at work
		select {
		case <-seen:
		case <-time.After(time.Minute):
		}
		j.Enter(jobpb.JobState_DONE)
	default:
		j.Enter(jobpb.JobState_DONE)
	}
}

func fakePlan() *plan.Plan {
	words := &plan.Collection{ID: "words", Bounded: true}
	return &plan.Plan{Stages: []*plan.Stage{
		{Index: 0, Name: "Read/Impulse", Kind: plan.Impulse, Transforms: []string{"read"},
			Outputs: []*plan.Output{{Collection: words, Consumers: []plan.Consumer{{Stage: 1, Side: -1}, {Stage: 1, Side: 0}}}}},
		{Index: 1, Name: "Split, Count", Kind: plan.SDK, Environment: "py", Transforms: []string{"split", "count"}, Input: words, Keyed: true,
			SideInputs: []*plan.SideInput{{Collection: words}}, Why: []string{"an Impulse is run by the runner"}},
	}}
}

func fakeProgress() []server.StageProgress {
	return []server.StageProgress{
		{Stage: 0, Name: "Read/Impulse", State: "done", OutputElements: 1, Bounded: true, Watermark: timestamp.Max},
		{Stage: 1, Name: "Split, Count", State: "running", InputElements: 30, PendingElements: 70, InFlight: 2, Bounded: true, InputWatermark: timestamp.Min, Watermark: timestamp.Min, Waiting: "a free worker"},
	}
}

func fakeMetrics() []*pipepb.MonitoringInfo {
	label := map[string]string{"PTRANSFORM": "count", "NAMESPACE": "my", "NAME": "words"}
	return []*pipepb.MonitoringInfo{
		{Urn: "beam:metric:user:sum_int64:v1", Type: "beam:metrics:sum_int64:v1", Labels: label, Payload: []byte{7}},
		{Urn: "beam:metric:user:distribution_int64:v1", Type: "beam:metrics:distribution_int64:v1", Labels: label, Payload: []byte{2, 5, 1, 4}},
		{Urn: "beam:metric:element_count:v1", Type: "beam:metrics:sum_int64:v1", Labels: map[string]string{"PCOLLECTION": "words"}, Payload: []byte{0x80, 1}},
	}
}

// beamjob NAME ENDPOINT [async]: prepares a job, runs it, and waits for its
// end unless told otherwise. Exits with 3 if the job fails.
func beamjob() {
	name, endpoint := os.Args[1], os.Args[2]
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "beamjob:", err)
			os.Exit(1)
		}
	}
	cc, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	c, ctx := jobpb.NewJobServiceClient(cc), context.Background()
	p, err := c.Prepare(ctx, &jobpb.PrepareJobRequest{JobName: name, Pipeline: &pipepb.Pipeline{RootTransformIds: []string{"r"}}})
	check(err)
	r, err := c.Run(ctx, &jobpb.RunJobRequest{PreparationId: p.GetPreparationId()})
	check(err)
	fmt.Println("submitted", r.GetJobId())
	if len(os.Args) > 3 {
		return
	}
	s, err := c.GetStateStream(ctx, &jobpb.GetJobStateRequest{JobId: r.GetJobId()})
	check(err)
	for st, err := s.Recv(); err == nil; st, err = s.Recv() {
		if st.GetState() == jobpb.JobState_FAILED {
			os.Exit(3)
		}
	}
}

func TestReadyFileIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ready.json")
	if err := writeReady(path, ready{JobEndpoint: "127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("files %v, %v: want the ready file alone", entries, err)
	}
	if err := writeReady(filepath.Join(path, "no"), ready{}); err == nil {
		t.Error("a ready file below a file was written")
	}
}

// stringAt is the string at a key, like jobs.0.id, of a JSON text.
func stringAt(text, key string) (string, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return "", err
	}
	for _, k := range strings.Split(key, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[k]
		case []any:
			i, err := strconv.Atoi(k)
			if err != nil || i >= len(x) {
				return "", fmt.Errorf("no element %s", k)
			}
			v = x[i]
		}
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%s is %v, not a string", key, v)
	}
	return s, nil
}
