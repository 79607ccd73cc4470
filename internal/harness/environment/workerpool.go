package environment

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// provisionTimeout bounds the question to a runner what a worker is to be told.
const provisionTimeout = 30 * time.Second

// WorkerPool is a worker pool service: Beam's BeamFnExternalWorkerPool. It
// starts workers as processes of this machine, for any runner that asks, up to a
// number of slots. What they run is not for the runner to say.
type WorkerPool struct {
	fnpb.UnimplementedBeamFnExternalWorkerPoolServer
	command string
	slots   int
	log     *slog.Logger

	mu      sync.Mutex
	closed  bool
	taken   int // slots, also of workers that are being started
	workers map[string]*process
	wg      sync.WaitGroup
}

// NewWorkerPool returns a service that starts workers with a command, which is
// given the flags of Beam's container contract.
func NewWorkerPool(command string, slots int, log *slog.Logger) *WorkerPool {
	return &WorkerPool{command: command, slots: slots, log: log, workers: map[string]*process{}}
}

// StartWorker implements BeamFnExternalWorkerPool. It fails with
// RESOURCE_EXHAUSTED when there is no slot.
func (s *WorkerPool) StartWorker(ctx context.Context, r *fnpb.StartWorkerRequest) (*fnpb.StartWorkerResponse, error) {
	if r.GetWorkerId() == "" || r.GetControlEndpoint().GetUrl() == "" {
		return nil, status.Error(codes.InvalidArgument, "a worker needs an id and a control endpoint")
	}
	if err := s.take(); err != nil {
		return nil, err
	}
	p, err := s.start(ctx, r)
	if err != nil {
		s.release()
		return &fnpb.StartWorkerResponse{Error: err.Error()}, nil
	}
	s.mu.Lock()
	old := s.workers[r.GetWorkerId()]
	s.workers[r.GetWorkerId()] = p
	s.mu.Unlock()
	go s.watch(r.GetWorkerId(), p)
	if old != nil {
		old.stop()
	}
	return &fnpb.StartWorkerResponse{}, nil
}

// take takes a slot.
func (s *WorkerPool) take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return status.Error(codes.Unavailable, "the worker pool ends")
	case s.taken >= s.slots:
		return status.Errorf(codes.ResourceExhausted, "all %d slots are taken", s.slots)
	}
	s.taken++
	s.wg.Add(1)
	return nil
}

func (s *WorkerPool) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	s.wg.Done()
}

// start starts a worker.
func (s *WorkerPool) start(ctx context.Context, r *fnpb.StartWorkerRequest) (*process, error) {
	c := contact{
		id: r.GetWorkerId(), control: r.GetControlEndpoint().GetUrl(), logging: r.GetLoggingEndpoint().GetUrl(),
		provision: r.GetProvisionEndpoint().GetUrl(), artifacts: r.GetArtifactEndpoint().GetUrl(),
	}
	info, err := s.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	return startProcess(&Target{Kind: Process, Command: s.command}, c, info)
}

// ask finds out what a worker without a boot program is told by variables.
func (s *WorkerPool) ask(ctx context.Context, c contact) (provision, error) {
	info := provision{capabilities: fnapi.DefaultCapabilities(), secrets: secretsOf(c.id, "", nil)}
	if c.provision == "" {
		return info, nil
	}
	cc, err := grpc.NewClient("passthrough:///"+c.provision, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return info, fmt.Errorf("provision service at %q: %w", c.provision, err)
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, "worker_id", c.id), provisionTimeout)
	defer cancel()
	got, err := fnpb.NewProvisionServiceClient(cc).GetProvisionInfo(ctx, &fnpb.GetProvisionInfoRequest{})
	if err != nil {
		return info, fmt.Errorf("the runner's provision service at %s cannot be reached from this worker pool: %s", c.provision, status.Convert(err).Message())
	}
	i := got.GetInfo()
	info.options, info.status = i.GetPipelineOptions(), i.GetStatusEndpoint().GetUrl()
	if caps := i.GetRunnerCapabilities(); len(caps) > 0 {
		info.capabilities = caps
	}
	info.secrets = secretsOf(c.id, i.GetRetrievalToken(), info.options)
	return info, nil
}

// watch waits for a worker's end.
func (s *WorkerPool) watch(id string, p *process) {
	s.log.Info("worker started", "pid", p.cmd.Process.Pid)
	<-p.exited()
	s.log.Info("worker ended", "pid", p.cmd.Process.Pid, "how", p.exitError())
	s.mu.Lock()
	if s.workers[id] == p {
		delete(s.workers, id)
	}
	s.mu.Unlock()
	s.release()
}

// StopWorker implements BeamFnExternalWorkerPool. A worker that is not there is
// no error.
func (s *WorkerPool) StopWorker(_ context.Context, r *fnpb.StopWorkerRequest) (*fnpb.StopWorkerResponse, error) {
	s.mu.Lock()
	p := s.workers[r.GetWorkerId()]
	s.mu.Unlock()
	if p != nil {
		go p.stop() // may take its time
	}
	return &fnpb.StopWorkerResponse{}, nil
}

// Close ends all workers, and waits for that. Their runners find others.
func (s *WorkerPool) Close() {
	s.mu.Lock()
	s.closed = true
	for _, p := range s.workers {
		go p.stop()
	}
	s.mu.Unlock()
	s.wg.Wait()
}
