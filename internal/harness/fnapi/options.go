package fnapi

import (
	"log/slog"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// Limits of queues and messages. Each bounds memory per worker or per bundle.
const (
	// DefaultMaxMessageBytes is the largest gRPC message that is received. An
	// element cannot be larger than what its SDK puts into one message.
	DefaultMaxMessageBytes = 512 << 20
	// controlQueueLen is how many instructions wait for the control stream.
	controlQueueLen = 64
	// dataQueueLen is how many Elements messages wait for the data stream.
	dataQueueLen = 4
	// DefaultInboxBytes is how much data one instruction holds for its consumer
	// before the worker's data stream is no longer read.
	DefaultInboxBytes = 16 << 20
	// inboxMessagesMax bounds the same inbox by messages.
	inboxMessagesMax = 4096
	// stateQueueMax is how many state requests of one instruction may wait.
	stateQueueMax = 1024
	// terminatorsMax bounds the end markers of aborted bundles that wait for
	// the data stream.
	terminatorsMax = 1024
	// retiredMax is how many ids of finished workers are remembered, so that
	// their late connections are ended politely.
	retiredMax = 8192
	// anonymousWaitsMax is how many state streams without a worker's id may be
	// open without a request that says whose they are.
	anonymousWaitsMax = 1024
	// lingerTimeout is how long the data, state and logging streams of a
	// closed worker stay open for it to say goodbye.
	lingerTimeout = 3 * time.Second
	// shortIDsMax bounds the cache of monitoring info short ids per worker.
	shortIDsMax = 1 << 16
)

// Stream tuning, see ServerOptions.
const (
	// DefaultWindowBytes is how much may be under way on a stream; on all
	// streams of a connection it is connWindows times as much.
	DefaultWindowBytes = 4 << 20
	connWindows        = 4
	ioBufferBytes      = 128 << 10
)

// A machine that is gone without a word is noticed by pings on connections that
// are silent. SDKs' gRPC libraries answer them whatever the worker does, so a
// slow worker is not taken for a dead one.
const (
	pingAfter   = 30 * time.Second
	pingTimeout = time.Minute
)

// Options configures a Server. The zero value is usable.
type Options struct {
	// Log gets the server's own messages; slog.Default() when nil.
	Log *slog.Logger
	// MaxMessageBytes is the largest message received; DefaultMaxMessageBytes
	// when zero. Only ServerOptions reads it.
	MaxMessageBytes int
	// InboxBytes is how much data one instruction holds for its consumer;
	// DefaultInboxBytes when zero.
	InboxBytes int
	// WindowBytes is how much may be under way to the server on one stream;
	// DefaultWindowBytes when zero. Only ServerOptions reads it.
	WindowBytes int32
	// Capabilities are the URNs of runner capabilities that workers are told
	// about; DefaultCapabilities when nil.
	Capabilities []string
}

// ServerOptions returns the options for a gRPC server that serves the Fn API
// with default limits: large messages and flow control windows, and keepalive
// pings of any frequency that SDKs are known to send.
func ServerOptions() []grpc.ServerOption { return Options{}.ServerOptions() }

// ServerOptions is like the function of that name, with o's limits.
func (o Options) ServerOptions() []grpc.ServerOption {
	limit := o.MaxMessageBytes
	if limit <= 0 {
		limit = DefaultMaxMessageBytes
	}
	window := o.WindowBytes
	if window <= 0 {
		window = DefaultWindowBytes
	}
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(limit),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(connWindows * window),
		grpc.ReadBufferSize(ioBufferBytes),
		grpc.WriteBufferSize(ioBufferBytes),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime:             time.Second,
			PermitWithoutStream: true,
		}),
	}
}
