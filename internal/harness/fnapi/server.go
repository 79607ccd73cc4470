package fnapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// workerIDKey is the metadata key by which workers introduce themselves.
const workerIDKey = "worker_id"

// Server is the Fn API for any number of workers.
type Server struct {
	opts Options
	log  *slog.Logger

	mu          sync.Mutex
	endpoint    string
	workers     map[string]*Harness
	retired     map[string]struct{}
	retiredRing []string // ids in retired, oldest at retiredNext once full
	retiredNext int
	descriptors map[string]*fnpb.ProcessBundleDescriptor // by wire id
	anonymous   map[string]*Harness                      // with AnonymousState, by token

	anonymousWaits chan struct{} // holds one for each state stream of nobody yet
}

// NewServer returns a server that expects no workers yet.
func NewServer(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Capabilities == nil {
		o.Capabilities = DefaultCapabilities()
	}
	if o.InboxBytes <= 0 {
		o.InboxBytes = DefaultInboxBytes
	}
	return &Server{
		opts:        o,
		log:         o.Log,
		workers:     map[string]*Harness{},
		retired:     map[string]struct{}{},
		descriptors: map[string]*fnpb.ProcessBundleDescriptor{},
		anonymous:   map[string]*Harness{},

		anonymousWaits: make(chan struct{}, anonymousWaitsMax),
	}
}

// Register adds the Fn API services to g. Use ServerOptions to make g.
func (s *Server) Register(g *grpc.Server) {
	v := &services{s: s}
	fnpb.RegisterBeamFnControlServer(g, v)
	fnpb.RegisterBeamFnDataServer(g, v)
	fnpb.RegisterBeamFnStateServer(g, v)
	fnpb.RegisterBeamFnLoggingServer(g, v)
	fnpb.RegisterProvisionServiceServer(g, v)
	fnpb.RegisterBeamFnWorkerStatusServer(g, v)
}

// SetEndpoint says under which address workers reach the server. It must be
// set before the first Expect.
func (s *Server) SetEndpoint(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoint = addr
}

// Endpoint returns the address set with SetEndpoint.
func (s *Server) Endpoint() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endpoint
}

// Expect announces a worker and returns its harness, which is ready once the
// worker opened its control stream. The caller must Close it. An id that is in
// use already is given to the new harness; the old one is closed.
func (s *Server) Expect(cfg WorkerConfig) *Harness {
	if cfg.ID == "" {
		cfg.ID = NewWorkerID("worker")
	}
	if cfg.Name == "" {
		cfg.Name = cfg.ID
	}
	if cfg.Endpoint == "" {
		cfg.Endpoint = s.Endpoint()
	}
	h := newHarness(s, cfg)
	s.mu.Lock()
	old := s.workers[cfg.ID]
	s.workers[cfg.ID] = h
	delete(s.retired, cfg.ID)
	if h.token != "" {
		s.anonymous[h.token] = h
	}
	s.mu.Unlock()
	if old != nil {
		old.Close(status.Error(codes.Aborted, "its id was given to another worker"))
	}
	return h
}

// Workers returns how many workers are expected or connected.
func (s *Server) Workers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.workers)
}

// NewWorkerID returns an id that starts with prefix and cannot be guessed.
func NewWorkerID(prefix string) string {
	return prefix + "-" + randomHex(16)
}

// randomHex returns n random bytes as hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

// retire forgets h, except for its id.
func (s *Server) retire(h *Harness, descriptors []string) {
	s.removeDescriptors(descriptors...)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.anonymous, h.token)
	if s.workers[h.id] != h {
		return
	}
	delete(s.workers, h.id)
	if _, ok := s.retired[h.id]; ok {
		return
	}
	s.retired[h.id] = struct{}{}
	if len(s.retiredRing) < retiredMax {
		s.retiredRing = append(s.retiredRing, h.id)
		return
	}
	delete(s.retired, s.retiredRing[s.retiredNext])
	s.retiredRing[s.retiredNext] = h.id
	s.retiredNext = (s.retiredNext + 1) % retiredMax
}

// workerID returns the id by which a caller introduces itself, or "".
func workerID(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	if ids := md.Get(workerIDKey); len(ids) > 0 {
		return ids[0]
	}
	return ""
}

// lookup finds the worker that a call comes from. A nil harness without an
// error means a worker that is finished.
func (s *Server) lookup(ctx context.Context) (*Harness, error) {
	id := workerID(ctx)
	if id == "" {
		return nil, status.Error(codes.Unauthenticated, "no worker_id in the metadata of the call")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.workers[id]; h != nil {
		return h, nil
	}
	if _, ok := s.retired[id]; ok {
		return nil, nil
	}
	return nil, status.Error(codes.PermissionDenied, "unknown worker_id")
}

// RetrievalToken is the token, for the artifacts of its job, that the worker
// from which a call comes has been given. It fails for strangers, and for
// workers that are finished.
func (s *Server) RetrievalToken(ctx context.Context) (string, error) {
	h, err := s.lookup(ctx)
	if err != nil {
		return "", err
	}
	if h == nil {
		return "", status.Error(codes.PermissionDenied, "the worker is finished")
	}
	return h.cfg.Provision.GetRetrievalToken(), nil
}

// descriptor finds a descriptor by its wire id, which nobody can guess:
// TypeScript asks for it without a worker id.
func (s *Server) descriptor(id string) *fnpb.ProcessBundleDescriptor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.descriptors[id]
}

// addDescriptor publishes d unless h is gone already.
func (s *Server) addDescriptor(d *fnpb.ProcessBundleDescriptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.descriptors[d.GetId()] = d
}

func (s *Server) removeDescriptors(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.descriptors, id)
	}
}

// services implements the gRPC services; it keeps their methods out of the
// public face of Server.
type services struct {
	fnpb.UnimplementedBeamFnControlServer
	fnpb.UnimplementedBeamFnDataServer
	fnpb.UnimplementedBeamFnStateServer
	fnpb.UnimplementedBeamFnLoggingServer
	fnpb.UnimplementedProvisionServiceServer
	fnpb.UnimplementedBeamFnWorkerStatusServer
	s *Server
}

// GetProcessBundleDescriptor serves what AddDescriptor was given.
func (v *services) GetProcessBundleDescriptor(_ context.Context, r *fnpb.GetProcessBundleDescriptorRequest) (*fnpb.ProcessBundleDescriptor, error) {
	if d := v.s.descriptor(r.GetProcessBundleDescriptorId()); d != nil {
		return d, nil
	}
	return nil, status.Errorf(codes.NotFound, "no process bundle descriptor %q", r.GetProcessBundleDescriptorId())
}
