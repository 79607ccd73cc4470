package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// Retrieval serves the ArtifactRetrievalService, from which workers fetch what
// they were told (in their ProvisionInfo) they depend on.
type Retrieval struct {
	jobpb.UnimplementedArtifactRetrievalServiceServer
	Store *Store
	// Job finds the token of the job for which the caller works; its error is
	// the caller's. Without it nobody gets anything.
	Job func(ctx context.Context) (token string, err error)
	// Client fetches URL artifacts; nil means http.DefaultClient.
	Client *http.Client
}

// ResolveArtifacts returns the artifacts as they are: they were resolved when
// they were staged.
func (r *Retrieval) ResolveArtifacts(_ context.Context, req *jobpb.ResolveArtifactsRequest) (*jobpb.ResolveArtifactsResponse, error) {
	return &jobpb.ResolveArtifactsResponse{Replacements: req.GetArtifacts()}, nil
}

// GetArtifact sends an artifact in chunks. An empty one is one empty chunk.
func (r *Retrieval) GetArtifact(req *jobpb.GetArtifactRequest, stream jobpb.ArtifactRetrievalService_GetArtifactServer) error {
	a := req.GetArtifact()
	if err := r.permit(stream.Context(), a); err != nil {
		return statusOf(fmt.Errorf("%s: %w", describe(a), err))
	}
	content, err := r.content(stream.Context(), a)
	if err != nil {
		return statusOf(fmt.Errorf("%s: %w", describe(a), err))
	}
	defer content.Close()
	return statusOf(sendChunks(stream, content))
}

// permit checks that an artifact is one of the job for which the caller works.
// Web addresses are checked, too: else the runner would fetch what any caller
// names.
func (r *Retrieval) permit(ctx context.Context, a *pipepb.ArtifactInformation) error {
	if r.Job == nil {
		return errors.New("nobody may retrieve artifacts")
	}
	token, err := r.Job(ctx)
	if err != nil {
		return err
	}
	if !r.Store.names(token, a) {
		return fmt.Errorf("%w: the worker's job has no such artifact", ErrUnknownArtifact)
	}
	return nil
}

// content opens an artifact. A file is looked up by its hash; the path it
// carries means nothing here.
func (r *Retrieval) content(ctx context.Context, a *pipepb.ArtifactInformation) (io.ReadCloser, error) {
	if p, ok := payloadOf(a).(*pipepb.EmbeddedFilePayload); ok {
		return io.NopCloser(bytes.NewReader(p.GetData())), nil
	}
	if address := webAddress(a); address != "" {
		return r.download(ctx, address, checksum(a))
	}
	if a.GetTypeUrn() != typeFile {
		return nil, fmt.Errorf("%w: the runner does not serve this type", ErrUnknownArtifact)
	}
	return r.Store.open(checksum(a))
}

// download fetches a web address into the store's temporary folder and checks
// it there: a worker must not get bytes that turn out to be wrong at the end.
func (r *Retrieval) download(ctx context.Context, address, want string) (io.ReadCloser, error) {
	client := r.Client
	if client == nil {
		client = http.DefaultClient
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: download: %s", ErrUnknownArtifact, resp.Status)
	}
	res := r.Store.reserve()
	sum, _, err := r.Store.put(resp.Body, want, r.Store.o.MaxArtifactBytes, res)
	if err != nil {
		res.close()
		return nil, fmt.Errorf("download: %w", err)
	}
	f, err := r.Store.openReserved(sum)
	res.close() // an open file outlives its name
	return f, err
}

func sendChunks(stream jobpb.ArtifactRetrievalService_GetArtifactServer, r io.Reader) error {
	buf := make([]byte, ChunkBytes)
	for sent := false; ; sent = true {
		n, err := io.ReadFull(r, buf)
		if n > 0 || !sent {
			if err := stream.Send(&jobpb.GetArtifactResponse{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read artifact: %w", err)
		}
	}
}
