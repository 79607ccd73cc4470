package fnapi

import (
	"context"
	"io"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Logging takes a worker's log entries.
func (v *services) Logging(stream fnpb.BeamFnLogging_LoggingServer) error {
	h, err := v.s.accept(stream)
	if h == nil || err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- h.receiveLogs(stream) }()
	select {
	case <-received:
		return nil
	case <-h.done:
		return linger(received)
	}
}

// receiveLogs hands out entries until the stream ends.
func (h *Harness) receiveLogs(stream fnpb.BeamFnLogging_LoggingServer) error {
	for {
		l, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.cfg.OnLog == nil {
			continue
		}
		for _, e := range l.GetLogEntries() {
			h.concealLog(e)
			h.cfg.OnLog(h, e)
		}
	}
}

// GetProvisionInfo tells a worker where everything is.
func (v *services) GetProvisionInfo(ctx context.Context, _ *fnpb.GetProvisionInfoRequest) (*fnpb.GetProvisionInfoResponse, error) {
	h, err := v.s.lookup(ctx)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, status.Error(codes.FailedPrecondition, "this worker is finished")
	}
	return &fnpb.GetProvisionInfoResponse{Info: h.provisionInfo()}, nil
}

// provisionInfo completes what the worker's configuration says.
func (h *Harness) provisionInfo() *fnpb.ProvisionInfo {
	info := &fnpb.ProvisionInfo{}
	if h.cfg.Provision != nil {
		info = proto.Clone(h.cfg.Provision).(*fnpb.ProvisionInfo)
	}
	api := &pipepb.ApiServiceDescriptor{Url: h.cfg.Endpoint}
	for _, d := range []**pipepb.ApiServiceDescriptor{&info.ControlEndpoint, &info.LoggingEndpoint, &info.ArtifactEndpoint} {
		if *d == nil {
			*d = api
		}
	}
	if info.PipelineOptions == nil {
		info.PipelineOptions = &structpb.Struct{}
	}
	if info.RunnerCapabilities == nil {
		info.RunnerCapabilities = h.srv.opts.Capabilities
	}
	return info
}
