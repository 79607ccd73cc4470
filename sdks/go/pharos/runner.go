package pharos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness/init" // what runs in a worker process
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/xlangx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/extworker"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/runnerlib"
)

var (
	memory   = flag.String("pharos_memory", "", "Memory that this process may take with a Pharos server in it, like 512MiB or 4GiB; what does not fit goes to disk. By default half of the machine's.")
	disk     = flag.String("pharos_disk", "", "Element data that a Pharos server in this process keeps on disk at most. By default there is no limit.")
	attempts = flag.Int("pharos_max_attempts", defaultAttempts, "How often a failing bundle is tried before the job fails, with a Pharos server in this process.")
	verbose  = flag.Bool("pharos_verbose", false, "Let a Pharos server in this process log what it does.")
)

// As in `pharos serve`.
const (
	defaultAttempts = 4
	maxAttempts     = 100
)

func init() {
	beam.RegisterRunner("pharos", Execute)
	beam.RegisterRunner("PharosRunner", Execute)
}

// Execute runs a pipeline and waits for its end. The error of a job that failed
// has the message of the runner, which names the transform. When ctx ends before
// the job, the job is cancelled and the error is that of ctx.
func Execute(ctx context.Context, p *beam.Pipeline) (beam.PipelineResult, error) {
	if !beam.Initialized() {
		return nil, errors.New("pharos: beam.Init() has not been called before the pipeline was made")
	}
	endpoint, release, err := connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("pharos: %w", err)
	}
	defer release()
	loopback := *jobopts.EnvironmentType == "" || jobopts.IsLoopback()
	pipeline, stop, err := translate(ctx, p, loopback)
	if err != nil {
		return nil, fmt.Errorf("pharos: translate the pipeline: %w", err)
	}
	if !*jobopts.Async { // whose workers are here as long as the program is
		defer stop()
	}
	result, err := runJob(ctx, pipeline, endpoint, *jobopts.Endpoint != "", &runnerlib.JobOptions{
		Name:         jobopts.GetJobName(),
		Experiments:  jobopts.GetExperiments(),
		Worker:       *jobopts.WorkerBinary,
		RetainDocker: *jobopts.RetainDockerContainers,
		Parallelism:  *jobopts.Parallelism,
		Loopback:     loopback,
	}, *jobopts.Async)
	if result == nil {
		return nil, fmt.Errorf("pharos: %w", err)
	}
	if err != nil {
		err = fmt.Errorf("pharos: %w", err)
	}
	return result, err
}

// connect finds the server: the one that --endpoint names, or that in this
// process, which serves until release is called.
func connect(ctx context.Context) (endpoint string, release func(), err error) {
	if *jobopts.Endpoint != "" {
		return *jobopts.Endpoint, func() {}, greet(ctx, *jobopts.Endpoint)
	}
	if *jobopts.Async {
		return "", nil, errors.New("--async needs a server that stays when this program ends: name one with --endpoint")
	}
	endpoint, release, err = servers.acquire()
	if err != nil {
		return "", nil, fmt.Errorf("start a server in this process: %w", err)
	}
	log.Infof(ctx, "Pharos serves in this process at %v", endpoint)
	return endpoint, release, nil
}

// translate makes the message for the Jobs API. With loopback it starts the
// service that starts workers in this process; stop ends that.
func translate(ctx context.Context, p *beam.Pipeline, loopback bool) (_ *pipepb.Pipeline, stop func(), err error) {
	edges, _, err := p.Build()
	if err != nil {
		return nil, nil, err
	}
	xlangx.ResolveArtifacts(ctx, edges, nil)
	urn, config, stop := jobopts.GetEnvironmentUrn, jobopts.GetEnvironmentConfig, func() {}
	if loopback {
		// While a job is cancelled because ctx has ended, its workers are still there.
		workers, err := extworker.StartLoopback(context.WithoutCancel(ctx), 0)
		if err != nil {
			return nil, nil, err
		}
		stop = func() { workers.Stop(ctx) }
		address, err := listening(workers.EnvironmentConfig(ctx))
		if err != nil {
			stop()
			return nil, nil, err
		}
		urn, config = externalURN, func(context.Context) string { return address }
	}
	environment, err := graphx.CreateEnvironment(ctx, urn(ctx), config)
	if err != nil {
		stop()
		return nil, nil, err
	}
	pipeline, err := graphx.Marshal(edges, &graphx.Options{Environment: environment, PipelineResourceHints: jobopts.GetPipelineResourceHints()})
	if err != nil {
		stop()
		return nil, nil, err
	}
	return pipeline, stop, nil
}

// listening is the one address at which a server listens that was told to do so
// at localhost, which may be two: at the other there may be another program.
func listening(localhost string) (string, error) {
	address, err := net.ResolveTCPAddr("tcp", localhost) // chooses as net.Listen does
	if err != nil {
		return "", err
	}
	return address.String(), nil
}

func externalURN(context.Context) string { return "beam:env:external:v1" }
