package job

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"

	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// startPools prepares the workers of all environments that have something to
// do. Those that can never run are all named, one line each, with a transform
// that needs them: the job ends before it does anything.
func (d *driver) startPools() error {
	var errs []error
	envs := d.r.environments()
	for _, id := range slices.Sorted(maps.Keys(envs)) {
		pool := d.pool(id, envs[id])
		if err := pool.Err(); err != nil {
			errs = append(errs, fmt.Errorf("transform %s: %w", d.r.userOf(id), err))
		}
		d.pools[id], d.r.workers[id] = pool, harnesses{pool}
	}
	return errors.Join(errs...)
}

// pool prepares the workers of an environment; they start when needed.
func (d *driver) pool(id string, env *pipepb.Environment) *environment.Pool {
	o := d.j.m.opts
	env = proto.Clone(env).(*pipepb.Environment)
	if o.Artifacts != nil {
		if deps := o.Artifacts.Dependencies(d.j.id, id); deps != nil {
			env.Dependencies = deps
		}
	}
	workers := o.WorkersPerEnvironment
	if n := d.j.settings.workersPerEnvironment; n > 0 {
		workers = n
	}
	of := func(workers int) *environment.Pool {
		return environment.NewPool(o.FnAPI, id, env, environment.Options{
			Endpoint: o.Endpoint, Overrides: o.Overrides, WorkersPerEnvironment: workers,
			StartTimeout: o.StartTimeout, Log: d.log, PipelineOptions: d.j.options, Containers: o.Containers, Job: d.j.id,
			MemoryMax: o.WorkerMemory, Notice: func(h *fnapi.Harness, text string) { d.tell(workerNotice{id, h.Name(), text}) },
			CommandLine: true, Artifacts: environment.Artifacts{Token: d.j.id}, OnLog: func(h *fnapi.Harness, e *fnpb.LogEntry) { d.j.workerLog(h.Name(), e) },
			OnStartFailure: func(err error) {
				d.j.message(jobpb.JobMessage_JOB_MESSAGE_WARNING, fmt.Sprintf("a worker did not start: %v", err))
			},
		})
	}
	if workers > 0 { // somebody has decided
		return of(workers)
	}
	return d.heed(id, env, of(0), of)
}
