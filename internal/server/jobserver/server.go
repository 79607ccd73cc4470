// Package jobserver serves Beam's Jobs API over gRPC.
//
// It translates: the wire on one side, server.Jobs on the other. It keeps no
// state of its own. What the SDKs' clients rely on beyond the proto is written
// where it is done; the sources are traces of the clients of each SDK.
//
// Invariants:
//   - Every error carries a gRPC code: NOT_FOUND for an unknown id,
//     INVALID_ARGUMENT with all reasons for a pipeline that cannot be run,
//     FAILED_PRECONDITION for a wrong state.
//   - A state or message stream ends by itself after the terminal state, and
//     its last state is the job's last state.
//   - Nothing a client sends makes it panic.
package jobserver

import (
	"context"
	"errors"
	"log/slog"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/model/secret"
	"github.com/pharos-beam/pharos/internal/server"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// Artifacts is what the Jobs API needs of the artifact store: to be told which
// artifacts a prepared job refers to, before its client stages them.
type Artifacts interface {
	// Register announces the environments of a job under its staging token.
	Register(token string, environments map[string]*pipepb.Environment) error
	// Drop forgets what was staged under the token.
	Drop(token string)
}

// Options configure a Server.
type Options struct {
	Jobs      server.Jobs
	Artifacts Artifacts // may be nil: then no artifact can be staged
	// StagingEndpoint is where the artifact staging service listens, host:port.
	// Java's client insists that there is one.
	StagingEndpoint string
	// Describe lists the pipeline options that Pharos itself understands.
	Describe []*jobpb.PipelineOptionDescriptor
	Log      *slog.Logger
}

// Server implements Beam's JobService.
type Server struct {
	jobpb.UnimplementedJobServiceServer
	o Options
}

// New makes a Server.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{o: o}
}

// Register adds the service to a gRPC server.
func (s *Server) Register(g *grpc.Server) { jobpb.RegisterJobServiceServer(g, s) }

// Prepare validates a pipeline and says where to stage its artifacts. The
// staging token is the preparation id.
func (s *Server) Prepare(ctx context.Context, req *jobpb.PrepareJobRequest) (*jobpb.PrepareJobResponse, error) {
	if req.GetPipeline() == nil {
		return nil, status.Error(codes.InvalidArgument, "the request has no pipeline")
	}
	req.JobName = jobName(req)
	j, err := s.o.Jobs.Prepare(ctx, req)
	if err != nil {
		return nil, statusOf(err)
	}
	token := j.PreparationID()
	if s.o.Artifacts != nil {
		if err := s.o.Artifacts.Register(token, req.GetPipeline().GetComponents().GetEnvironments()); err != nil {
			j.Cancel()
			return nil, status.Errorf(codes.InvalidArgument, "register artifacts: %v", err)
		}
	}
	s.o.Log.Debug("prepared", "job", j.ID(), "name", j.Name())
	return &jobpb.PrepareJobResponse{
		PreparationId:           token,
		ArtifactStagingEndpoint: &pipepb.ApiServiceDescriptor{Url: s.o.StagingEndpoint},
		StagingSessionToken:     token,
	}, nil
}

// Run starts a prepared job.
func (s *Server) Run(ctx context.Context, req *jobpb.RunJobRequest) (*jobpb.RunJobResponse, error) {
	if _, err := s.job(req.GetPreparationId()); err != nil {
		return nil, err
	}
	j, err := s.o.Jobs.Run(ctx, req.GetPreparationId())
	if err != nil {
		return nil, statusOf(err)
	}
	return &jobpb.RunJobResponse{JobId: j.ID()}, nil
}

// GetJobs lists all jobs.
func (s *Server) GetJobs(context.Context, *jobpb.GetJobsRequest) (*jobpb.GetJobsResponse, error) {
	resp := &jobpb.GetJobsResponse{}
	for _, j := range s.o.Jobs.Jobs() {
		st, _ := j.State()
		opts := secret.Options(j.Options())
		if opts == nil {
			opts = &structpb.Struct{} // required by the proto
		}
		resp.JobInfo = append(resp.JobInfo, &jobpb.JobInfo{JobId: j.ID(), JobName: j.Name(), PipelineOptions: opts, State: st})
	}
	return resp, nil
}

// GetState returns the current state.
func (s *Server) GetState(_ context.Context, req *jobpb.GetJobStateRequest) (*jobpb.JobStateEvent, error) {
	j, err := s.job(req.GetJobId())
	if err != nil {
		return nil, err
	}
	return stateEvent(j.State()), nil
}

// GetPipeline returns the pipeline as it was submitted.
func (s *Server) GetPipeline(_ context.Context, req *jobpb.GetJobPipelineRequest) (*jobpb.GetJobPipelineResponse, error) {
	j, err := s.job(req.GetJobId())
	if err != nil {
		return nil, err
	}
	return &jobpb.GetJobPipelineResponse{Pipeline: j.Pipeline()}, nil
}

// GetJobMetrics returns attempted and committed metrics. The metrics message is
// always there, also when empty: Java's and Go's clients dereference it.
func (s *Server) GetJobMetrics(_ context.Context, req *jobpb.GetJobMetricsRequest) (*jobpb.GetJobMetricsResponse, error) {
	j, err := s.job(req.GetJobId())
	if err != nil {
		return nil, err
	}
	attempted, committed := j.Metrics()
	return &jobpb.GetJobMetricsResponse{Metrics: &jobpb.MetricResults{Attempted: attempted, Committed: committed}}, nil
}

// DescribePipelineOptions lists the options that Pharos understands. Python's
// client asks for them first and adds them to its own parser.
func (s *Server) DescribePipelineOptions(context.Context, *jobpb.DescribePipelineOptionsRequest) (*jobpb.DescribePipelineOptionsResponse, error) {
	return &jobpb.DescribePipelineOptionsResponse{Options: s.o.Describe}, nil
}

// Cancel stops a job. Cancelling one that has ended changes nothing and is no
// error.
func (s *Server) Cancel(_ context.Context, req *jobpb.CancelJobRequest) (*jobpb.CancelJobResponse, error) {
	j, err := s.job(req.GetJobId())
	if err != nil {
		return nil, err
	}
	j.Cancel()
	st, _ := j.State()
	return &jobpb.CancelJobResponse{State: st}, nil
}

// Drain lets a job finish what it has read. A job that has not been run yet is
// drained as soon as it is; draining one that has ended changes nothing.
func (s *Server) Drain(_ context.Context, req *jobpb.DrainJobRequest) (*jobpb.DrainJobResponse, error) {
	j, err := s.job(req.GetJobId())
	if err != nil {
		return nil, err
	}
	j.Drain()
	st, _ := j.State()
	return &jobpb.DrainJobResponse{State: st}, nil
}

// jobName is the name that the user gave. Python's client says "job" for every
// job; the real name is among the options.
func jobName(req *jobpb.PrepareJobRequest) string {
	name := req.GetJobName()
	if option := req.GetPipelineOptions().GetFields()["beam:option:job_name:v1"].GetStringValue(); option != "" && (name == "" || name == "job") {
		name = option
	}
	if name == "" {
		return "job"
	}
	return name
}

func (s *Server) job(id string) (server.Job, error) {
	if id == "" {
		return nil, status.Error(codes.InvalidArgument, "the request has no job id")
	}
	j, ok := s.o.Jobs.Job(id)
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no such job: %q", id)
	}
	return j, nil
}

// statusOf gives an error of package server its gRPC code. Errors that have a
// code keep it.
func statusOf(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	var invalid *server.InvalidError
	switch {
	case errors.As(err, &invalid):
		return status.Error(codes.InvalidArgument, clip(err.Error(), maxStatusText))
	case errors.Is(err, server.ErrNotFound):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, server.ErrState):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Internal, clip(err.Error(), maxStatusText))
}
