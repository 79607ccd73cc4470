package pharos

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/metricsx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/runnerlib"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	submitLimit = 30 * time.Second
	// cancelLimit is how long a job whose context has ended may take to end.
	cancelLimit = 10 * time.Second
)

// restartLimit is how long a server may be gone before its jobs count as lost: one
// that keeps its jobs goes on with them when it is started again.
var restartLimit = time.Minute // a variable for tests

// job is a job on a server, and its result.
type job struct {
	id       string
	endpoint string
	remote   bool // the server is not in this process
	client   jobpb.JobServiceClient
	metrics  metrics.Results
	follower
}

func (j *job) JobID() string            { return j.id }
func (j *job) Metrics() metrics.Results { return j.metrics }

// runJob submits a pipeline and, unless async, waits for the job's end. It is
// runnerlib.Execute, which does not say which job it is that it stops waiting for.
func runJob(ctx context.Context, p *pipepb.Pipeline, endpoint string, remote bool, opt *runnerlib.JobOptions, async bool) (*job, error) {
	cc, err := dial(endpoint)
	if err != nil {
		return nil, err
	}
	defer cc.Close()
	j := &job{endpoint: endpoint, remote: remote, client: jobpb.NewJobServiceClient(cc)}
	if err := j.submit(ctx, p, opt); err != nil || async {
		return j, err
	}
	log.Infof(ctx, "Job %s runs at %s", j.id, j.endpoint)
	err = j.follow(ctx)
	if ctx.Err() != nil {
		j.cancel(ctx)
		return j, fmt.Errorf("job %s: %w", j.id, ctx.Err())
	}
	response, lost := j.client.GetJobMetrics(ctx, &jobpb.GetJobMetricsRequest{JobId: j.id})
	if lost != nil {
		log.Warnf(ctx, "the metrics of job %s are lost: %v", j.id, lost)
		return j, err
	}
	j.metrics = *metricsx.FromMonitoringInfos(p, response.GetMetrics().GetAttempted(), response.GetMetrics().GetCommitted())
	return j, err
}

// reconnectMax is how long after a failed try to connect the next one is, at most.
const reconnectMax = 2 * time.Second

func dial(endpoint string) (*grpc.ClientConn, error) {
	retry := backoff.DefaultConfig
	retry.MaxDelay = reconnectMax
	return grpc.NewClient(endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
}

func (j *job) submit(ctx context.Context, p *pipepb.Pipeline, opt *runnerlib.JobOptions) error {
	binary, remove, err := workerBinary(ctx, opt)
	if err != nil {
		return err
	}
	defer remove()
	if err := runnerlib.UpdateGoEnvironmentWorker(binary, p); err != nil {
		return err
	}
	prepared, artifacts, session, err := runnerlib.Prepare(ctx, j.client, p, opt)
	if err != nil {
		return err
	}
	token, err := runnerlib.Stage(ctx, prepared, artifacts, binary, session)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// Were this call broken off, nobody would know whether there is a job, or which, to cancel it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), submitLimit)
	defer cancel()
	j.id, err = runnerlib.Submit(ctx, j.client, prepared, token)
	return err
}

// workerBinary is the program that workers elsewhere run, until remove is
// called. Workers in this process need none, but the SDK always sends a file.
func workerBinary(ctx context.Context, opt *runnerlib.JobOptions) (path string, remove func(), err error) {
	if opt.Loopback {
		f, err := os.CreateTemp("", "pharos-no-worker-")
		if err != nil {
			return "", nil, err
		}
		return f.Name(), func() { os.Remove(f.Name()) }, f.Close()
	}
	if opt.Worker != "" {
		return opt.Worker, func() {}, nil
	}
	if self, ok := runnerlib.IsWorkerCompatibleBinary(); ok {
		return self, func() {}, nil
	}
	path, err = runnerlib.BuildTempWorkerBinary(ctx, runnerlib.CompileOpts{})
	return path, func() { os.Remove(path) }, err
}

// cancel stops a job whose context has ended, and waits for that a little: its
// workers may be in this process, and end with the caller.
func (j *job) cancel(ended context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ended), cancelLimit)
	defer cancel()
	_, err := j.client.Cancel(ctx, &jobpb.CancelJobRequest{JobId: j.id})
	if err == nil {
		err = j.follow(ctx)
	}
	if err != nil {
		log.Warnf(ctx, "cancel job %s: %v", j.id, err)
	}
}
