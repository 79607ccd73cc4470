package environment

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// Timeouts of calls to a worker pool service.
const (
	startWorkerTimeout = 15 * time.Second
	stopWorkerTimeout  = 5 * time.Second
)

// external is a worker that a worker pool service started.
type external struct {
	endpoint string
	id       string
	release  func() // its slot
}

// startExternal asks a worker pool service for a worker. A LOOPBACK worker
// lives in the program that submitted the job. If wait is set, the service may
// take its time to appear.
func startExternal(ctx context.Context, endpoint string, params map[string]string, c contact, wait bool) (*external, error) {
	cc, err := dialPool(endpoint)
	if err != nil {
		return nil, err
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(ctx, startWorkerTimeout)
	defer cancel()
	api := func(url string) *pipepb.ApiServiceDescriptor { return &pipepb.ApiServiceDescriptor{Url: url} }
	resp, err := fnpb.NewBeamFnExternalWorkerPoolClient(cc).StartWorker(ctx, &fnpb.StartWorkerRequest{
		WorkerId:          c.id,
		ControlEndpoint:   api(c.control),
		LoggingEndpoint:   api(c.logging),
		ArtifactEndpoint:  api(c.artifacts),
		ProvisionEndpoint: api(c.provision),
		Params:            params,
	}, grpc.WaitForReady(wait))
	switch {
	case status.Code(err) == codes.ResourceExhausted:
		return nil, fmt.Errorf("worker service at %s: %w", endpoint, errFull)
	case err != nil:
		return nil, fmt.Errorf("worker service at %s does not answer (is the program that serves it still running?): %s", endpoint, status.Convert(err).Message())
	case resp.GetError() != "":
		return nil, fmt.Errorf("worker service at %s: %s", endpoint, oneLine(resp.GetError()))
	}
	return &external{endpoint: endpoint, id: c.id}, nil
}

// oneLine takes the line of text that says most: the last one of a Python
// traceback, else the first.
func oneLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if strings.HasPrefix(lines[0], "Traceback") {
		return strings.TrimSpace(lines[len(lines)-1])
	}
	return strings.TrimSpace(lines[0])
}

// dialPool connects lazily to a worker pool service.
func dialPool(endpoint string) (*grpc.ClientConn, error) {
	cc, err := grpc.NewClient("passthrough:///"+endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("worker service at %q: %w", endpoint, err)
	}
	return cc, nil
}

// stop asks the service to stop the worker. The service may be gone already.
func (e *external) stop() {
	defer e.release()
	cc, err := dialPool(e.endpoint)
	if err != nil {
		return
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), stopWorkerTimeout)
	defer cancel()
	_, _ = fnpb.NewBeamFnExternalWorkerPoolClient(cc).StopWorker(ctx, &fnpb.StopWorkerRequest{WorkerId: e.id})
}

// exited never tells: only the control stream does.
func (e *external) exited() <-chan struct{} { return nil }

// exitError is never known.
func (e *external) exitError() error { return nil }

// output is not known: it went to the service's log.
func (e *external) output() string { return "" }

// memory is not known either.
func (e *external) memory(context.Context) (int64, error) { return 0, errors.ErrUnsupported }
