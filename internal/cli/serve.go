package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"sync"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/pharos-beam/pharos/internal/harness/docker"
	"github.com/pharos-beam/pharos/internal/harness/environment"
	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/memory"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
	"github.com/pharos-beam/pharos/internal/server"
	"github.com/pharos-beam/pharos/internal/storage/logbook"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/store/lsmstore"
	"github.com/pharos-beam/pharos/internal/telemetry"
)

// LocalEngine puts together what runs jobs in this process: store, spool, Fn
// API and job manager.
func LocalEngine(c EngineConfig) (*Engine, error) {
	for name, spec := range c.Overrides {
		if err := environment.CheckOverride(name, spec); err != nil {
			return nil, fmt.Errorf("--env: %w", err)
		}
	}
	temp := filepath.Join(c.Dir, "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, fmt.Errorf("folder for temporary files: %w", err)
	}
	shares := memory.Divide(c.Memory)
	blocks, err := spool.Open(spool.Options{Dir: filepath.Join(c.Dir, "spool"), MemoryBudget: shares.Spool, DiskBudget: c.Disk, Keep: c.Durable})
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	kv, err := openRows(c, shares, temp)
	if err != nil {
		return nil, errors.Join(err, blocks.Close())
	}
	logs, err := openLogs(c)
	if err != nil {
		return nil, errors.Join(err, kv.Close(), blocks.Close())
	}
	tracer, endTraces, err := openTraces(c)
	if err != nil {
		return nil, errors.Join(err, kv.Close(), blocks.Close(), logs.Close())
	}
	net := fnapi.Options{Log: c.Log, InboxBytes: shares.Inbox(), WindowBytes: shares.Window()}
	workers := fnapi.NewServer(net)
	snapshots := ""
	if c.Durable {
		snapshots = filepath.Join(c.Dir, snapshotsName)
	}
	workers.SetEndpoint(c.Endpoint)
	c.Docker.Log = c.Log
	containers := docker.New(c.Docker)
	var swept sync.WaitGroup
	swept.Go(func() { sweep(containers, c.Log) })
	scratch := func() (store.Store, error) {
		return lsmstore.Open(lsmstore.Options{
			Dir: filepath.Join(temp, "rows"), MemoryBudget: shares.SideRows(), Scratch: true, Log: c.Log, Fatal: storeFailed(c.Log, c.Durable),
		})
	}
	m := job.NewManager(job.Options{
		Log: c.Log, Store: kv, Spool: blocks, FnAPI: workers, Endpoint: c.Endpoint, Artifacts: c.Artifacts,
		Overrides: c.Overrides, WorkersPerEnvironment: c.WorkersPerEnvironment, MaxAttempts: c.MaxAttempts,
		TempDir: temp, Memory: shares, Scratch: scratch, Durable: c.Durable, ClientTimeout: c.ClientTimeout,
		KeepJobs: c.KeepJobs, KeepFor: c.KeepFor, Snapshots: snapshots, Origin: c.Origin, ClockOffset: c.ClockOffset,
		StopTimeout: c.StopTimeout, StartTimeout: c.Limits.WorkerStartTimeout, WorkerMemory: int64(c.Limits.WorkerMemory),
		StuckAfter: c.Limits.StuckAfter, BundleTimeout: c.Limits.BundleTimeout,
		Containers: containers, Logs: logs, WorkerLog: c.WorkerLog, MachineMemory: machineMemory(), Tracer: tracer,
	})
	return &Engine{
		Jobs: managed{m}, ServerOptions: net.ServerOptions(), Register: workers.Register, WorkersJob: workers.RetrievalToken, Options: job.DescribeOptions(), Start: m.Recover,
		Close: func(ctx context.Context) error {
			err := m.Close(ctx)
			swept.Wait()
			return errors.Join(err, containers.Close(), kv.Close(), blocks.Close(), logs.Close(), endTraces(ctx))
		},
		Stats: func() server.RunnerStats { return runnerStats(workers, blocks, shares.Spool, kv, logs) },
	}, nil
}

// openTraces makes what sends traces; nothing if nobody wants them.
func openTraces(c EngineConfig) (job.Tracer, func(context.Context) error, error) {
	if c.TraceEndpoint == "" {
		return nil, func(context.Context) error { return nil }, nil
	}
	t, err := telemetry.Open(context.Background(), c.TraceEndpoint, c.Version, c.Log)
	if err != nil {
		return nil, nil, err
	}
	return t, t.Close, nil
}

// Logs in memory have a part of what the memory budget leaves for what has no
// share of its own.
const (
	logShare = 32
	logMin   = 4 << 20
)

// openLogs opens what keeps the logs of jobs: beside durable jobs on disk, else
// in memory.
func openLogs(c EngineConfig) (*logbook.Book, error) {
	o := logbook.Options{Bytes: c.LogSpace, Log: c.Log}
	switch {
	case c.Durable:
		o.Dir = filepath.Join(c.Dir, "logs")
	case o.Bytes <= 0:
		o.Bytes = min(max(c.Memory/logShare, logMin), logbook.DefaultMemoryBytes)
	}
	return logbook.Open(o)
}

// runnerStats says what the parts of an engine use.
func runnerStats(workers *fnapi.Server, blocks *spool.Spool, memory int64, kv *rows, logs *logbook.Book) server.RunnerStats {
	s := blocks.Stats()
	r := server.RunnerStats{
		Workers: workers.Workers(), SpoolRAMBytes: s.RAMBytes, SpoolRAMLimitBytes: memory,
		SpoolDiskBytes: s.DiskBytes, SpoolDeadBytes: s.DeadBytes, SpoolBlocks: s.Blocks, SpoolSegments: s.Segments,
	}
	kept := logs.Stats()
	r.LogBytes, r.LostLogLines = kept.Bytes, kept.Lost
	if disk := kv.disk.Load(); disk != nil {
		d := disk.Stats()
		r.StoreOnDisk, r.StoreDiskBytes, r.StoreAppliedBytes, r.StoreWrittenBytes = true, d.DiskBytes, d.AppliedBytes, d.WrittenBytes
	}
	return r
}

// managed shows a job.Manager as server.Jobs.
type managed struct{ m *job.Manager }

// Prepare implements server.Jobs.
func (a managed) Prepare(ctx context.Context, req *jobpb.PrepareJobRequest) (server.Job, error) {
	return managedOrErr(a.m.Prepare(ctx, req))
}

// Run implements server.Jobs.
func (a managed) Run(ctx context.Context, preparationID string) (server.Job, error) {
	return managedOrErr(a.m.Run(ctx, preparationID))
}

// Job implements server.Jobs.
func (a managed) Job(id string) (server.Job, bool) {
	j, ok := a.m.Job(id)
	if !ok {
		return nil, false
	}
	return managedJob{j}, true
}

// Jobs implements server.Jobs.
func (a managed) Jobs() []server.Job {
	var out []server.Job
	for _, j := range a.m.Jobs() {
		out = append(out, managedJob{j})
	}
	return out
}

func managedOrErr(j *job.Job, err error) (server.Job, error) {
	if err != nil {
		return nil, translate(err)
	}
	return managedJob{j}, nil
}

// translate turns the engine's errors into those that the front door knows.
func translate(err error) error {
	var rejected *pipeline.Rejection
	switch {
	case err == nil:
		return nil
	case errors.As(err, &rejected):
		return &server.InvalidError{Reasons: rejected.Reasons}
	case errors.Is(err, job.ErrNotFound):
		return known{err, server.ErrNotFound}
	case errors.Is(err, job.ErrState), errors.Is(err, job.ErrNotSampled), errors.Is(err, fnapi.ErrNoStatus):
		return known{err, server.ErrState}
	case errors.Is(err, job.ErrSnapshot):
		return known{err, server.ErrSnapshot}
	}
	return err
}

// known is an error of the engine that is also one of the front door's.
type known struct {
	error
	is error
}

// Unwrap makes both found.
func (e known) Unwrap() []error { return []error{e.error, e.is} }

// managedJob shows a job.Job as a server.Job.
type managedJob struct{ *job.Job }

// Events implements server.Job.
func (a managedJob) Events(ctx context.Context) iter.Seq[server.Event] {
	return func(yield func(server.Event) bool) {
		for e := range a.Job.Events(ctx) {
			if !yield(server.Event{At: e.At, State: e.State, Message: e.Message}) {
				return
			}
		}
	}
}

// Logs implements server.Job.
func (a managedJob) Logs(ctx context.Context, q server.LogQuery) iter.Seq[server.LogLine] {
	match := func(l job.LogLine) bool { return q.Match(server.LogLine(l)) }
	return func(yield func(server.LogLine) bool) {
		for l := range a.Job.Logs(ctx, job.LogQuery{Follow: q.Follow, Tail: q.Tail, Recent: q.Recent, Match: match}) {
			if !yield(server.LogLine(l)) {
				return
			}
		}
	}
}

// Stats implements server.Job.
func (a managedJob) Stats() server.JobStats {
	s := a.Job.Stats()
	return server.JobStats{Attempts: latencies(&s.Attempts), Commits: latencies(&s.Commits), Workers: s.Workers}
}

func latencies(l *job.Latencies) server.Latencies {
	return server.Latencies{Count: l.Count, Sum: l.Sum, Buckets: l.Buckets()}
}

// Workers implements server.Job.
func (a managedJob) Workers() []server.Worker {
	var out []server.Worker
	for _, w := range a.Job.Workers() {
		out = append(out, server.Worker(w))
	}
	return out
}

// WorkerStatus implements server.Job.
func (a managedJob) WorkerStatus(ctx context.Context, worker string) (string, error) {
	text, err := a.Job.WorkerStatus(ctx, worker)
	return text, translate(err)
}

// Samples implements server.Job.
func (a managedJob) Samples(ctx context.Context) ([]server.Sample, error) {
	all, err := a.Job.Samples(ctx)
	if err != nil {
		return nil, translate(err)
	}
	out := make([]server.Sample, len(all))
	for i, s := range all {
		out[i] = server.Sample{PCollection: s.PCollection, At: s.At, Value: s.Value}
		if x := s.Exception; x != nil {
			out[i].Transform, out[i].Instruction, out[i].Error = x.Transform, x.Instruction, x.Error
		}
	}
	return out, nil
}

// Progress implements server.Job.
func (a managedJob) Progress() []server.StageProgress {
	var out []server.StageProgress
	for _, s := range a.Job.Progress() {
		out = append(out, server.StageProgress{
			Stage: s.Stage, Name: s.Name, Kind: s.Kind, State: s.State,
			InputElements: s.InputElements, OutputElements: s.OutputElements, PendingElements: s.PendingElements,
			Bundles: s.Bundles, FailedAttempts: s.FailedAttempts, PendingBytes: s.PendingBytes, InFlight: int64(s.InFlight), Bounded: s.Bounded,
			InputWatermark: s.InputWatermark, Watermark: s.Watermark, Waiting: s.Waiting,
		})
	}
	return out
}
