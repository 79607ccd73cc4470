package fnapi

import (
	"io"
	"strings"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Some workers open their state stream without their id, see
// [Traits.AnonymousState]. Such a stream is admitted by something else that only
// the worker has been told: ids of instructions that nobody can guess. The
// stream's first request says whose it is. From then on it is that worker's
// like any other, so a worker that may do without an id cannot reach the state
// of another one.

// tokenEnd ends the token in an instruction id; what follows is a number.
const tokenEnd = "."

// firstRead is a state stream from which a request was read already.
type firstRead struct {
	fnpb.BeamFnState_StateServer
	req *fnpb.StateRequest // until Recv returns it
}

// Recv returns the request that was read first, and then those after it.
func (f *firstRead) Recv() (*fnpb.StateRequest, error) {
	if req := f.req; req != nil {
		f.req = nil
		return req, nil
	}
	return f.BeamFnState_StateServer.Recv()
}

// acceptState is accept for state streams. The stream that it returns replaces
// the one given.
func (s *Server) acceptState(stream fnpb.BeamFnState_StateServer) (*Harness, fnpb.BeamFnState_StateServer, error) {
	if workerID(stream.Context()) != "" || !s.hasAnonymous() {
		h, err := s.accept(stream)
		return h, stream, err
	}
	select {
	case s.anonymousWaits <- struct{}{}:
		defer func() { <-s.anonymousWaits }()
	default:
		return nil, nil, status.Error(codes.ResourceExhausted, "too many state streams without a worker_id have sent no request yet")
	}
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return nil, nil, err
	}
	req, err := stream.Recv()
	if err == io.EOF {
		return nil, nil, nil // a worker that needed no state
	}
	if err != nil {
		return nil, nil, err
	}
	h := s.instructed(req.GetInstructionId())
	if h == nil {
		return nil, nil, status.Error(codes.PermissionDenied,
			"no worker_id in the metadata of the call, and the first request is for no instruction of a worker that may do without")
	}
	return h, &firstRead{stream, req}, nil
}

// hasAnonymous reports whether a worker is expected, or there, that may do
// without an id on its state stream.
func (s *Server) hasAnonymous() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.anonymous) > 0
}

// instructed finds the worker, of those that may do without an id, that was
// given an instruction id; nil if there is none.
func (s *Server) instructed(id string) *Harness {
	token, _, ok := strings.Cut(id, tokenEnd)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.anonymous[token]
}

// conceal takes the worker's token out of a text that people get to see.
func (h *Harness) conceal(text string) string {
	if h.token == "" {
		return text
	}
	return strings.ReplaceAll(text, h.token+tokenEnd, "")
}

// concealLog takes the worker's token out of what it logs: SDKs name
// instructions there.
func (h *Harness) concealLog(e *fnpb.LogEntry) {
	e.InstructionId = h.conceal(e.GetInstructionId())
	e.Message = h.conceal(e.GetMessage())
	e.Trace = h.conceal(e.GetTrace())
}

// concealAnswer does so in errors and in samples of elements that failed.
func (h *Harness) concealAnswer(r *fnpb.InstructionResponse) {
	if h.token == "" {
		return
	}
	r.Error = h.conceal(r.GetError())
	for _, list := range r.GetSampleData().GetElementSamples() {
		for _, e := range list.GetElements() {
			if x := e.GetException(); x != nil {
				x.InstructionId, x.Error = h.conceal(x.GetInstructionId()), h.conceal(x.GetError())
			}
		}
	}
}
