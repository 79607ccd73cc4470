package job_test

import (
	"context"
	"sync"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/job"
)

// nothingToSplit answers splits like an SDK that has nothing to give back.
func nothingToSplit(req *fnpb.InstructionRequest) *fnpb.InstructionResponse {
	if req.GetProcessBundleSplit() == nil {
		return nil
	}
	return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_ProcessBundleSplit{
		ProcessBundleSplit: &fnpb.ProcessBundleSplitResponse{},
	}}
}

// Jobs that run at the same time share store, spool and machine, and none waits
// for the others to end.
func TestHundredJobsAtOnce(t *testing.T) {
	const jobs, elements = 100, 10
	const limit = 5 * time.Minute // with the race detector on a busy machine
	r := newRig(t)
	// The first bundles of all jobs wait for each other: it takes all jobs to be
	// under way at once.
	var arrived sync.WaitGroup
	arrived.Add(jobs)
	s := &sdk{elements: elements, make: func() {
		arrived.Done()
		arrived.Wait()
	}}
	r.pool.mu.Lock()
	r.pool.config = fakesdk.Config{Process: s.process, Other: nothingToSplit}
	r.pool.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var all []*job.Job
	for range jobs {
		j, err := r.m.Prepare(ctx, &jobpb.PrepareJobRequest{JobName: "test", Pipeline: r.pipeline()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.m.Run(ctx, j.ID()); err != nil {
			t.Fatal(err)
		}
		all = append(all, j)
	}
	for _, j := range all {
		for range j.Events(ctx) {
		}
		if st, _ := j.State(); st != jobpb.JobState_DONE {
			t.Fatalf("job %s is %v", j.ID(), st)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got) != jobs*elements {
		t.Errorf("%d elements, want %d", len(s.got), jobs*elements)
	}
}
