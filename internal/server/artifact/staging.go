package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sort"
	"strings"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

type reverseStream = jobpb.ArtifactStagingService_ReverseArtifactRetrievalServiceServer

// Staging serves the ArtifactStagingService. The SDK calls, sends its token and
// from then on answers: the runner asks it first to resolve the artifacts of an
// environment and then for the content of each.
type Staging struct {
	jobpb.UnimplementedArtifactStagingServiceServer
	Store *Store
}

// ReverseArtifactRetrievalService stages the artifacts of the job whose token
// comes first. It ends the stream when it has everything; SDKs wait for that.
// It may be called again for the same job, as Go's client does after a failure.
func (s *Staging) ReverseArtifactRetrievalService(stream reverseStream) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	// TypeScript's client hangs on a response that has trailers only.
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	return statusOf(s.Store.stage(first.GetStagingToken(), stream))
}

func (s *Store) stage(token string, stream reverseStream) error {
	deps, err := s.beginStaging(token)
	if err != nil {
		return err
	}
	defer s.endStaging(token)
	t := &transfer{s: s, stream: stream, left: s.o.MaxJobBytes, res: s.reserve(), done: map[string]blob{}}
	defer t.res.close()
	staged := make(map[string][]*pipepb.ArtifactInformation, len(deps))
	for _, id := range sortedKeys(deps) {
		d, err := t.environment(deps[id])
		if err != nil {
			return fmt.Errorf("environment %q: %w", id, err)
		}
		staged[id] = d
	}
	return s.settle(token, staged)
}

func (s *Store) beginStaging(token string) (map[string][]*pipepb.ArtifactInformation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.jobs[token]
	switch {
	case m == nil:
		return nil, fmt.Errorf("%w: %q", ErrUnknownToken, token)
	case m.staging:
		return nil, ErrBusy
	}
	m.staging = true
	return m.deps, nil
}

func (s *Store) endStaging(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.jobs[token]; m != nil {
		m.staging = false
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// transfer is one call of the staging service.
type transfer struct {
	s      *Store
	stream reverseStream
	left   int64 // bytes that this job may still bring
	res    *reservation
	done   map[string]blob // by contentKey: environments share artifacts
}

type blob struct {
	sum  string
	name string // file name for a worker's copy, if the role gives none
}

// environment resolves and fetches the artifacts of one environment.
func (t *transfer) environment(deps []*pipepb.ArtifactInformation) ([]*pipepb.ArtifactInformation, error) {
	resolved, err := t.resolve(deps)
	if err != nil {
		return nil, err
	}
	out := make([]*pipepb.ArtifactInformation, 0, len(resolved))
	for _, a := range resolved {
		if err := checkName(a); err != nil {
			return nil, err
		}
		staged, err := t.artifact(a)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", describe(a), err)
		}
		out = append(out, staged)
	}
	return unique(out), nil
}

// resolve lets the SDK replace what only it can interpret. Artifacts staged
// before, by a call that failed later, are files by hash and need no SDK.
func (t *transfer) resolve(deps []*pipepb.ArtifactInformation) ([]*pipepb.ArtifactInformation, error) {
	if len(deps) == 0 {
		return nil, nil
	}
	req := &jobpb.ArtifactRequestWrapper{Request: &jobpb.ArtifactRequestWrapper_ResolveArtifact{
		ResolveArtifact: &jobpb.ResolveArtifactsRequest{Artifacts: deps},
	}}
	if err := t.stream.Send(req); err != nil {
		return nil, err
	}
	resp, err := t.recv()
	if err != nil {
		return nil, err
	}
	r, ok := resp.GetResponse().(*jobpb.ArtifactResponseWrapper_ResolveArtifactResponse)
	if !ok {
		return nil, protocolError("a resolve response", resp)
	}
	out := r.ResolveArtifactResponse.GetReplacements()
	if len(out) > maxArtifacts {
		return nil, fmt.Errorf("%w: resolved to more than %d artifacts", ErrTooLarge, maxArtifacts)
	}
	return out, nil
}

// artifact brings one artifact into the store, if the store is its place.
func (t *transfer) artifact(a *pipepb.ArtifactInformation) (*pipepb.ArtifactInformation, error) {
	if handedThrough(a) {
		return a, nil
	}
	b, ok := t.done[contentKey(a)]
	if !ok {
		var err error
		if b, err = t.fetch(a); err != nil {
			return nil, err
		}
		t.done[contentKey(a)] = b
	}
	payload, err := proto.Marshal(&pipepb.ArtifactFilePayload{Path: b.name, Sha256: b.sum})
	if err != nil {
		return nil, err
	}
	return &pipepb.ArtifactInformation{
		TypeUrn: typeFile, TypePayload: payload,
		RoleUrn: a.GetRoleUrn(), RolePayload: a.GetRolePayload(),
	}, nil
}

// handedThrough tells whether workers get an artifact as it is: packages, which
// they install from their own registries, and web addresses, which the
// retrieval service or they themselves fetch when they need them. Everything
// else, deferred and unknown types included, is the SDK's to deliver.
func handedThrough(a *pipepb.ArtifactInformation) bool {
	switch a.GetTypeUrn() {
	case typePyPI, typeMaven:
		return true
	case typeURL:
		return webAddress(a) != ""
	}
	return false
}

// webAddress is the http(s) address of a URL artifact, empty for others.
func webAddress(a *pipepb.ArtifactInformation) string {
	p, ok := payloadOf(a).(*pipepb.ArtifactUrlPayload)
	if !ok {
		return ""
	}
	u, err := url.Parse(p.GetUrl())
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return ""
	}
	return p.GetUrl()
}

func (t *transfer) fetch(a *pipepb.ArtifactInformation) (blob, error) {
	b := blob{name: "artifact"}
	switch p := payloadOf(a).(type) {
	case *pipepb.ArtifactFilePayload:
		b.name = baseName(p.GetPath())
	case *pipepb.ArtifactUrlPayload:
		b.name = baseName(p.GetUrl())
	case *pipepb.EmbeddedFilePayload:
		return t.store(bytes.NewReader(p.GetData()), "", b)
	}
	want := checksum(a)
	if want != "" && !isSum(want) {
		return b, fmt.Errorf("%w: %q is not a SHA-256", ErrChecksum, want)
	}
	if size, ok := t.res.have(want); ok {
		if t.left -= size; t.left < 0 {
			return b, fmt.Errorf("%w: the job's artifacts exceed %d bytes", ErrTooLarge, t.s.o.MaxJobBytes)
		}
		b.sum = want
		return b, nil
	}
	req := &jobpb.ArtifactRequestWrapper{Request: &jobpb.ArtifactRequestWrapper_GetArtifact{
		GetArtifact: &jobpb.GetArtifactRequest{Artifact: a},
	}}
	if err := t.stream.Send(req); err != nil {
		return b, err
	}
	return t.store(&chunks{t: t}, want, b)
}

func (t *transfer) store(r io.Reader, want string, b blob) (blob, error) {
	limit := min(t.s.o.MaxArtifactBytes, t.left)
	sum, n, err := t.s.put(r, want, limit, t.res)
	if err != nil {
		return b, err
	}
	t.left -= n
	b.sum = sum
	return b, nil
}

// recv receives an answer; the end of the stream is not one.
func (t *transfer) recv() (*jobpb.ArtifactResponseWrapper, error) {
	resp, err := t.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, status.Error(codes.Aborted, "the client ended the stream before all artifacts were staged")
	}
	return resp, err
}

// chunks reads the content of one artifact from the stream. It ends with
// is_last, which SDKs send with an empty chunk, or with data.
type chunks struct {
	t    *transfer
	rest []byte
	last bool
}

// Read implements io.Reader.
func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.last {
			return 0, io.EOF
		}
		resp, err := c.t.recv()
		if err != nil {
			return 0, err
		}
		switch r := resp.GetResponse().(type) {
		case *jobpb.ArtifactResponseWrapper_GetArtifactResponse:
			c.rest = r.GetArtifactResponse.GetData()
		case nil:
			if !resp.GetIsLast() {
				return 0, protocolError("a chunk", resp)
			}
		default:
			return 0, protocolError("a chunk", resp)
		}
		c.last = resp.GetIsLast()
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func protocolError(want string, got *jobpb.ArtifactResponseWrapper) error {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", got.GetResponse()), "*jobmanagement_v1.ArtifactResponseWrapper_")
	return status.Errorf(codes.InvalidArgument, "the client sent %s where %s was due", kind, want)
}

// statusOf gives an error of this package its gRPC code.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	code := codes.Internal
	var withStatus interface{ GRPCStatus() *status.Status }
	switch {
	case errors.As(err, &withStatus):
		code = withStatus.GRPCStatus().Code()
	case errors.Is(err, ErrUnknownToken), errors.Is(err, ErrUnknownArtifact):
		code = codes.NotFound
	case errors.Is(err, ErrBusy):
		code = codes.FailedPrecondition
	case errors.Is(err, ErrTooLarge):
		code = codes.ResourceExhausted
	case errors.Is(err, ErrChecksum):
		code = codes.DataLoss
	case errors.Is(err, ErrName):
		code = codes.InvalidArgument
	}
	return status.Error(code, err.Error())
}
