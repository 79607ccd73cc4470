package bundle

import (
	"context"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// Limits of a bundle.
const (
	// DefaultMaxMessage is how many bytes of input go into one Elements
	// message, if chunks are not larger themselves. It was measured to be faster
	// than more: gRPC pools its buffers up to 1 MiB.
	DefaultMaxMessage = 512 << 10
	// embedBytesMax is the largest input that is sent inside the request to an
	// SDK that takes it there.
	embedBytesMax = 64 << 10
	// coalesceBytesMax is the size below which chunks are copied together.
	coalesceBytesMax = 32 << 10
	// DefaultCloseTimeout is how long a worker may be silent while outputs are
	// open, once it has answered that the bundle is done.
	DefaultCloseTimeout = 2 * time.Minute
	// infosTimeout bounds the question for short ids after a bundle.
	infosTimeout = 10 * time.Second
)

// Chunk is a piece of a bundle's input.
type Chunk struct {
	// Transform is the source, or the transform that owns the timers; the
	// bundle's InputPort when empty.
	Transform string
	// Family is the timer family; empty for data.
	Family string
	// Data holds whole elements, or whole timers. It must not change any more.
	Data []byte
	// Elements is how many elements Data holds.
	Elements int64
	// Flush sends everything so far without waiting for a fuller message.
	Flush bool
}

// Source yields a bundle's input.
type Source interface {
	// Next returns the next chunk, or io.EOF when there is no more. It returns
	// soon after ctx ends.
	Next(ctx context.Context) (Chunk, error)
}

// TimerKey names a timer family.
type TimerKey struct{ Transform, Family string }

// Spec is what a bundle is made of.
type Spec struct {
	// Descriptor is the id of a descriptor given to Harness.AddDescriptor.
	Descriptor string
	// Source yields the input; nil for none.
	Source Source
	// State answers the SDK's state requests; may be nil.
	State fnapi.StateHandler
	// Output takes output of a sink. It owns data.
	Output func(transform string, data []byte) error
	// Timer takes timers that were set or cleared. It owns data.
	Timer func(transform, family string, data []byte) error
	// DataOutputs are the sinks in the descriptor.
	DataOutputs []string
	// TimerFamilies are all timer families in the descriptor.
	TimerFamilies []TimerKey
	// InputPort is the source in the descriptor.
	InputPort string
	// CacheTokens allow the SDK to keep state between bundles.
	CacheTokens []*fnpb.ProcessBundleRequest_CacheToken
	// MaxMessage is how many bytes of input go into one message;
	// DefaultMaxMessage when zero.
	MaxMessage int
	// SingleMessage sends all input and its end in one message.
	SingleMessage bool
	// CloseTimeout is DefaultCloseTimeout when zero.
	CloseTimeout time.Duration
}

// Result is the outcome of a bundle that succeeded.
type Result struct {
	// Response is what the SDK answered.
	Response *fnpb.ProcessBundleResponse
	// Infos are the response's monitoring infos, short ids resolved.
	Infos []*pipepb.MonitoringInfo
}
