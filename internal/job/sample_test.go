package job_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/job"
)

// sampled is what a fake worker hands out: an element, and one that led to an
// exception.
func sampled(req *fnpb.InstructionRequest) *fnpb.InstructionResponse {
	if req.GetSampleData() == nil {
		return nil
	}
	return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_SampleData{SampleData: &fnpb.SampleDataResponse{
		ElementSamples: map[string]*fnpb.SampleDataResponse_ElementList{
			"c1": {Elements: []*fnpb.SampledElement{{Element: []byte("\x05hello")}}},
			"c2": {Elements: []*fnpb.SampledElement{{
				Element:   []byte("\x03bad"),
				Exception: &fnpb.SampledElement_Exception{TransformId: "use", InstructionId: "7", Error: "ValueError: hunter22"},
			}}},
			"unheard of": {Elements: []*fnpb.SampledElement{{Element: []byte{0xff}}}},
		},
	}}}
}

// runSampled runs the pipeline with an experiment and a secret.
func (r *rig) runSampled(experiment string, process func(*fakesdk.Bundle) error) *job.Job {
	r.t.Helper()
	r.pool.mu.Lock()
	r.pool.config = fakesdk.Config{Process: process, Other: sampled}
	r.pool.mu.Unlock()
	options, err := structpb.NewStruct(map[string]any{
		"beam:option:experiments:v1": []any{"other", experiment}, "beam:option:password:v1": "hunter22",
	})
	if err != nil {
		r.t.Fatal(err)
	}
	j, err := r.m.Prepare(r.t.Context(), &jobpb.PrepareJobRequest{JobName: "test", Pipeline: r.pipeline(), PipelineOptions: options})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.m.Run(r.t.Context(), j.ID()); err != nil {
		r.t.Fatal(err)
	}
	return j
}

// await waits for the end of a job.
func (r *rig) await(j *job.Job) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), jobTimeout)
	defer cancel()
	for range j.Events(ctx) {
	}
	if ctx.Err() != nil {
		r.t.Fatal("the job does not end")
	}
}

// Workers hand samples out once, and they are there after the end of the job.
func TestSamples(t *testing.T) {
	r := newRig(t)
	s := &sdk{elements: 3, use: fakesdk.Fail("ValueError: hunter22")}
	j := r.runSampled("enable_data_sampling", s.process)
	r.await(j)
	all, err := j.Samples(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]job.Sample{}
	for _, x := range all {
		found[x.PCollection] = x
	}
	if v := found["c1"].Value; v != "hello" {
		t.Errorf("a sample of the coder bytes is %v", v)
	}
	if v := found["unheard of"].Value; v != "0xff" {
		t.Errorf("a sample of an unknown coder is %v", v)
	}
	x := found["c2"].Exception
	if x == nil || x.Transform != "use" || x.Error != "ValueError: ********" {
		t.Errorf("the exception is %+v", x)
	}
}

func TestNoSamplesUnlessAskedFor(t *testing.T) {
	r := newRig(t)
	j := r.runSampled("another", (&sdk{elements: 3}).process)
	r.await(j)
	if _, err := j.Samples(t.Context()); !errors.Is(err, job.ErrNotSampled) {
		t.Errorf("%v", err)
	}
}

func TestWorkersOfARunningJob(t *testing.T) {
	r := newRig(t)
	inside, leave := make(chan struct{}), make(chan struct{})
	s := &sdk{elements: 1, make: func() {
		close(inside)
		<-leave
	}}
	j := r.runSampled("none", s.process)
	<-inside
	workers := j.Workers()
	if len(workers) != 1 || workers[0].Environment != "a" || !strings.Contains(workers[0].Target, "external") {
		t.Errorf("workers %+v", workers)
	}
	if _, err := j.WorkerStatus(t.Context(), workers[0].Name); !errors.Is(err, fnapi.ErrNoStatus) {
		t.Errorf("status of a worker that has none: %v", err)
	}
	if _, err := j.WorkerStatus(t.Context(), "nobody"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("status of nobody: %v", err)
	}
	close(leave)
	r.await(j)
	if workers := j.Workers(); len(workers) != 0 {
		t.Errorf("after the end there are %+v", workers)
	}
}
