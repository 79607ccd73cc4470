// Package environment starts SDK harnesses.
package environment

import (
	"context"
	"errors"
	"log/slog"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// Artifacts says where workers fetch staged artifacts.
type Artifacts struct {
	// Endpoint is the retrieval service; the Fn API server's when empty.
	Endpoint string
	// Token is the retrieval token.
	Token string
}

// Options configures a Pool.
type Options struct {
	Endpoint              string
	Overrides             map[string]string
	WorkersPerEnvironment int
	StartTimeout          time.Duration
	Log                   *slog.Logger
	OnLog                 func(*fnapi.Harness, *fnpb.LogEntry)
	Artifacts             Artifacts
	PipelineOptions       *structpb.Struct
}

// Pool is the workers of one environment.
type Pool struct{}

// NewPool returns a pool that starts workers when they are needed.
func NewPool(srv *fnapi.Server, envID string, env *pipepb.Environment, o Options) *Pool { return &Pool{} }

// Get returns a harness.
func (p *Pool) Get(ctx context.Context) (*fnapi.Harness, error) { return nil, errors.New("not yet") }

// Put gives it back.
func (p *Pool) Put(h *fnapi.Harness) {}

// Slots is how many bundles may run at a time.
func (p *Pool) Slots() int { return 1 }

// Close stops the workers.
func (p *Pool) Close() {}
