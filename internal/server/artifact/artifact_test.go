package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
)

type fixture struct {
	store    *Store
	staging  jobpb.ArtifactStagingServiceClient
	retrieve jobpb.ArtifactRetrievalServiceClient
	works    string // the job of the worker that retrieves
}

func serve(t *testing.T, o Options) *fixture {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	store, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	lis := bufconn.Listen(1 << 20)
	g := grpc.NewServer()
	f := &fixture{store: store}
	jobpb.RegisterArtifactStagingServiceServer(g, &Staging{Store: store})
	jobpb.RegisterArtifactRetrievalServiceServer(g, &Retrieval{Store: store, Job: f.job})
	go g.Serve(lis)
	t.Cleanup(g.Stop)
	cc, err := grpc.NewClient("passthrough:///fake", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	f.staging, f.retrieve = jobpb.NewArtifactStagingServiceClient(cc), jobpb.NewArtifactRetrievalServiceClient(cc)
	return f
}

// job is for which job the caller works.
func (f *fixture) job(context.Context) (string, error) {
	if f.works == "nobody" {
		return "", status.Error(codes.PermissionDenied, "unknown worker_id")
	}
	return f.works, nil
}

// sdk plays the SDK's side of staging, in the manner of the real clients: it
// sends its token, answers, and never closes its side.
type sdk struct {
	files    map[string][]byte // by path, for FILE artifacts; by payload for others
	resolve  func([]*pipepb.ArtifactInformation) []*pipepb.ArtifactInformation
	lastData bool // is_last comes with data
	bareLast bool // is_last comes without a response, as from Java
	asked    []string
}

func (s *sdk) offer(t *testing.T, c jobpb.ArtifactStagingServiceClient, token string) error {
	t.Helper()
	stream, err := c.ReverseArtifactRetrievalService(t.Context())
	if err != nil {
		return err
	}
	if err := stream.Send(&jobpb.ArtifactResponseWrapper{StagingToken: token}); err != nil {
		return err
	}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range s.answer(req) {
			if stream.Send(r) != nil {
				break // Recv has the reason
			}
		}
	}
}

func (s *sdk) answer(req *jobpb.ArtifactRequestWrapper) []*jobpb.ArtifactResponseWrapper {
	if r := req.GetResolveArtifact(); r != nil {
		out := r.GetArtifacts()
		if s.resolve != nil {
			out = s.resolve(out)
		}
		return []*jobpb.ArtifactResponseWrapper{{Response: &jobpb.ArtifactResponseWrapper_ResolveArtifactResponse{
			ResolveArtifactResponse: &jobpb.ResolveArtifactsResponse{Replacements: out}}}}
	}
	a := req.GetGetArtifact().GetArtifact()
	name := string(a.GetTypePayload())
	if p, ok := payloadOf(a).(*pipepb.ArtifactFilePayload); ok {
		name = p.GetPath()
	}
	s.asked = append(s.asked, name)
	var out []*jobpb.ArtifactResponseWrapper
	data := s.files[name]
	for len(data) > 0 {
		n := min(len(data), 1<<20)
		out = append(out, chunk(data[:n]))
		data = data[n:]
	}
	switch {
	case s.lastData && len(out) > 0:
		out[len(out)-1].IsLast = true
	case s.bareLast:
		out = append(out, &jobpb.ArtifactResponseWrapper{IsLast: true})
	default:
		last := chunk(nil)
		last.IsLast = true
		out = append(out, last)
	}
	return out
}

func chunk(b []byte) *jobpb.ArtifactResponseWrapper {
	return &jobpb.ArtifactResponseWrapper{Response: &jobpb.ArtifactResponseWrapper_GetArtifactResponse{
		GetArtifactResponse: &jobpb.GetArtifactResponse{Data: b}}}
}

func marshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func file(path, sum, staged string) *pipepb.ArtifactInformation {
	return to(&pipepb.ArtifactInformation{TypeUrn: typeFile, TypePayload: marshal(&pipepb.ArtifactFilePayload{Path: path, Sha256: sum})}, staged)
}

func to(a *pipepb.ArtifactInformation, staged string) *pipepb.ArtifactInformation {
	if staged != "" {
		a.RoleUrn, a.RolePayload = roleStagingTo, marshal(&pipepb.ArtifactStagingToRolePayload{StagedName: staged})
	}
	return a
}

func envs(deps ...*pipepb.ArtifactInformation) map[string]*pipepb.Environment {
	return map[string]*pipepb.Environment{"env": {Dependencies: deps}}
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// get fetches an artifact as a worker does.
func (f *fixture) get(t *testing.T, a *pipepb.ArtifactInformation) ([]byte, error) {
	t.Helper()
	stream, err := f.retrieve.GetArtifact(t.Context(), &jobpb.GetArtifactRequest{Artifact: a})
	if err != nil {
		return nil, err
	}
	var out []byte
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(r.GetData()) > ChunkBytes {
			t.Errorf("a chunk of %d bytes", len(r.GetData()))
		}
		out = append(out, r.GetData()...)
	}
}

func (f *fixture) register(t *testing.T, token string, e map[string]*pipepb.Environment) {
	t.Helper()
	if err := f.store.Register(token, e); err != nil {
		t.Fatal(err)
	}
	f.works = token
}

// blobs counts the files that the store has.
func (f *fixture) blobs(t *testing.T) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(f.store.o.Dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Base(filepath.Dir(p)) != "jobs" {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRoundTrip(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 5<<16) // 5 MiB, over a message's limit
	for name, client := range map[string]*sdk{"python": {}, "last with data": {lastData: true}, "java": {bareLast: true}} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, Options{})
			client.files = map[string][]byte{"/home/me/big.jar": big, "/tmp/empty": nil, "deferred-7": []byte("later")}
			deferred := &pipepb.ArtifactInformation{TypeUrn: "beam:artifact:type:deferred:v1", TypePayload: []byte("deferred-7")}
			embedded := &pipepb.ArtifactInformation{TypeUrn: typeEmbedded, TypePayload: marshal(&pipepb.EmbeddedFilePayload{Data: []byte("inline")})}
			f.register(t, "tok", envs(
				file("/home/me/big.jar", strings.ToUpper(sum(big)), ""), file("/tmp/empty", "", "requirements.txt"),
				to(deferred, "lib/x.jar"), to(embedded, "e"),
			))
			if err := client.offer(t, f.staging, "tok"); err != nil {
				t.Fatal(err)
			}
			deps := f.store.Dependencies("tok", "env")
			if len(deps) != 4 {
				t.Fatalf("%d dependencies", len(deps))
			}
			r, err := f.retrieve.ResolveArtifacts(t.Context(), &jobpb.ResolveArtifactsRequest{Artifacts: deps})
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range [][]byte{big, nil, []byte("later"), []byte("inline")} {
				d := r.GetReplacements()[i]
				if d.GetTypeUrn() != typeFile || checksum(d) != sum(want) {
					t.Errorf("dependency %d is %v", i, d)
				}
				got, err := f.get(t, d)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("dependency %d: got %d bytes, %v", i, len(got), err)
				}
			}
			if n, _, _ := stagedName(deps[2]); n != "lib/x.jar" {
				t.Errorf("the role is lost: %v", deps[2])
			}
			if p := payloadOf(deps[0]).(*pipepb.ArtifactFilePayload); p.GetPath() != "big.jar" {
				t.Errorf("the worker's copy would be called %q", p.GetPath())
			}
		})
	}
}

// TestHeaders: TypeScript's client needs response headers although there may
// be nothing to ask.
func TestHeaders(t *testing.T) {
	f := serve(t, Options{})
	f.register(t, "tok", nil)
	stream, err := f.staging.ReverseArtifactRetrievalService(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&jobpb.ArtifactResponseWrapper{StagingToken: "tok"}); err != nil {
		t.Fatal(err)
	}
	var md metadata.MD
	if md, err = stream.Header(); err != nil || len(md.Get("content-type")) == 0 {
		t.Errorf("headers %v, %v", md, err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v, want EOF by itself", err)
	}
}

func TestSharing(t *testing.T) {
	f := serve(t, Options{})
	data := []byte("shared")
	dep := file("/a", sum(data), "")
	any := marshal(&pipepb.AnyOfEnvironmentPayload{Environments: []*pipepb.Environment{{Dependencies: []*pipepb.ArtifactInformation{dep}}}})
	two := map[string]*pipepb.Environment{
		"one": {Dependencies: []*pipepb.ArtifactInformation{dep, dep}},
		"any": {Urn: "beam:env:anyof:v1", Payload: any, Dependencies: []*pipepb.ArtifactInformation{file("/a", sum(data), "copy")}},
	}
	client := &sdk{files: map[string][]byte{"/a": data}}
	for _, tok := range []string{"t1", "t2"} {
		f.register(t, tok, two)
		if err := client.offer(t, f.staging, tok); err != nil {
			t.Fatal(err)
		}
	}
	if len(client.asked) != 1 {
		t.Errorf("asked for %v, want the file once for both jobs", client.asked)
	}
	if n := len(f.store.Dependencies("t1", "one")); n != 1 {
		t.Errorf("%d dependencies, want 1", n)
	}
	if n := len(f.store.Dependencies("t2", "any")); n != 2 {
		t.Errorf("%d dependencies of the any-of environment, want 2", n)
	}
	f.store.Drop("t1")
	d := f.store.Dependencies("t2", "one")[0]
	if _, err := f.get(t, d); err != nil {
		t.Errorf("the other job's artifact went, too: %v", err)
	}
	f.store.Drop("t2")
	if _, err := f.get(t, d); status.Code(err) != codes.NotFound {
		t.Errorf("after the last job: %v, want NOT_FOUND", err)
	}
	if n := f.blobs(t); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	f := serve(t, Options{Dir: dir})
	f.register(t, "tok", envs(file("/a", "", "")))
	if err := (&sdk{files: map[string][]byte{"/a": []byte("x")}}).offer(t, f.staging, "tok"); err != nil {
		t.Fatal(err)
	}
	junk := filepath.Join(dir, "blobs", "ab", strings.Repeat("ab", 32))
	if err := errors.Join(os.MkdirAll(filepath.Dir(junk), 0o700), os.WriteFile(junk, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	again := serve(t, Options{Dir: dir})
	again.works = "tok"
	got, err := again.get(t, again.store.Dependencies("tok", "env")[0])
	if err != nil || string(got) != "x" {
		t.Errorf("got %q, %v", got, err)
	}
	if n := again.blobs(t); n != 1 {
		t.Errorf("%d files, want the one in use", n)
	}
}

func TestHandedThrough(t *testing.T) {
	f := serve(t, Options{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/x.jar" {
			io.WriteString(w, "from the web")
			return
		}
		http.NotFound(w, r)
	}))
	defer web.Close()
	address := func(path, sum string) *pipepb.ArtifactInformation {
		return &pipepb.ArtifactInformation{TypeUrn: typeURL, TypePayload: marshal(&pipepb.ArtifactUrlPayload{Url: web.URL + path, Sha256: sum})}
	}
	pip := &pipepb.ArtifactInformation{TypeUrn: typePyPI, TypePayload: marshal(&pipepb.PyPIPayload{ArtifactId: "numpy"})}
	mvn := &pipepb.ArtifactInformation{TypeUrn: typeMaven, TypePayload: marshal(&pipepb.MavenPayload{Artifact: "a:b:1"})}
	good := address("/x.jar", sum([]byte("from the web")))
	f.register(t, "tok", envs(pip, mvn, good, address("/x.jar", sum(nil)), address("/y.jar", "")))
	client := &sdk{}
	if err := client.offer(t, f.staging, "tok"); err != nil || len(client.asked) != 0 {
		t.Fatalf("%v, asked for %v", err, client.asked)
	}
	for i, d := range f.store.Dependencies("tok", "env") {
		if i > 2 {
			break
		}
		if want := []*pipepb.ArtifactInformation{pip, mvn, good}[i]; !proto.Equal(d, want) {
			t.Errorf("got %v, want %v", d, want)
		}
	}
	if got, err := f.get(t, good); err != nil || string(got) != "from the web" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := f.get(t, address("/x.jar", sum(nil))); status.Code(err) != codes.DataLoss {
		t.Errorf("wrong checksum: %v", err)
	}
	if _, err := f.get(t, address("/y.jar", "")); status.Code(err) != codes.NotFound {
		t.Errorf("missing: %v", err)
	}
	if n := f.blobs(t); n != 0 {
		t.Errorf("%d downloads are left", n)
	}
}

func TestHostileClients(t *testing.T) {
	for name, c := range map[string]struct {
		token  string
		client *sdk
		code   codes.Code
	}{
		"unknown token":  {"other", &sdk{}, codes.NotFound},
		"wrong content":  {"tok", &sdk{files: map[string][]byte{"/a": []byte("forged")}}, codes.DataLoss},
		"too large":      {"tok", &sdk{files: map[string][]byte{"/a": make([]byte, 2000)}}, codes.ResourceExhausted},
		"resolve to ../": {"tok", &sdk{resolve: names("../../etc/passwd")}, codes.InvalidArgument},
		"resolve to /":   {"tok", &sdk{resolve: names("/etc/passwd")}, codes.InvalidArgument},
		"no sha":         {"tok", &sdk{resolve: sums("../../../../etc/passwd")}, codes.DataLoss},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, Options{MaxArtifactBytes: 1000})
			f.register(t, "tok", envs(file("/a", sum([]byte("right")), "")))
			if err := c.client.offer(t, f.staging, c.token); status.Code(err) != c.code {
				t.Errorf("%v, want %v", err, c.code)
			}
			if n := f.blobs(t); n != 0 {
				t.Errorf("%d files are left", n)
			}
			// The job can be staged after all.
			good := &sdk{files: map[string][]byte{"/a": []byte("right")}}
			if err := good.offer(t, f.staging, "tok"); err != nil {
				t.Errorf("second try: %v", err)
			}
		})
	}
}

func names(staged string) func([]*pipepb.ArtifactInformation) []*pipepb.ArtifactInformation {
	return func([]*pipepb.ArtifactInformation) []*pipepb.ArtifactInformation {
		return []*pipepb.ArtifactInformation{file("/a", "", staged)}
	}
}

func sums(s string) func([]*pipepb.ArtifactInformation) []*pipepb.ArtifactInformation {
	return func([]*pipepb.ArtifactInformation) []*pipepb.ArtifactInformation {
		return []*pipepb.ArtifactInformation{file("/a", s, "")}
	}
}

func TestJobLimit(t *testing.T) {
	f := serve(t, Options{MaxJobBytes: 10})
	f.register(t, "tok", envs(file("/a", "", ""), file("/b", "", "")))
	client := &sdk{files: map[string][]byte{"/a": []byte("123456"), "/b": []byte("abcdef")}}
	if err := client.offer(t, f.staging, "tok"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v, want RESOURCE_EXHAUSTED", err)
	}
}

func TestHostileNames(t *testing.T) {
	f := serve(t, Options{})
	for _, name := range []string{"..", "../x", "a/../../x", "/x", `..\x`, `C:\x`, `a\..\..\x`, ".", "", "x\x00y"} {
		a := &pipepb.ArtifactInformation{TypeUrn: typeFile, RoleUrn: roleStagingTo, RolePayload: marshal(&pipepb.ArtifactStagingToRolePayload{StagedName: name})}
		if err := f.store.Register("n", envs(a)); !errors.Is(err, ErrName) {
			t.Errorf("staged name %q: %v", name, err)
			f.store.Drop("n")
		}
	}
	for in, want := range map[string]string{
		"/a/b.jar": "b.jar", `C:\x\y.whl`: "y.whl", "": "artifact", "../..": "artifact", "/": "artifact", "a\nb": "a_b", "https://h/p/q.jar": "q.jar",
	} {
		if got := baseName(in); got != want {
			t.Errorf("baseName(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestHostileWorkers asks the retrieval service for what is not an artifact.
func TestHostileWorkers(t *testing.T) {
	f := serve(t, Options{})
	for name, a := range map[string]*pipepb.ArtifactInformation{
		"nothing":       nil,
		"a path":        file("/etc/passwd", "", ""),
		"a path as sum": file("x", "../../../../etc/passwd", ""),
		"an unknown":    file("x", sum([]byte("unknown")), ""),
		"a file URL":    {TypeUrn: typeURL, TypePayload: marshal(&pipepb.ArtifactUrlPayload{Url: "file:///etc/passwd"})},
		"a bad payload": {TypeUrn: typeFile, TypePayload: []byte{0xff, 0xff}},
		"pip":           {TypeUrn: typePyPI},
	} {
		if _, err := f.get(t, a); status.Code(err) != codes.NotFound {
			t.Errorf("%s: %v, want NOT_FOUND", name, err)
		}
	}
}

// A worker gets what its own job has staged, by whatever way it names it.
func TestArtifactsOfOtherJobs(t *testing.T) {
	f := serve(t, Options{})
	data := []byte("of the other job")
	f.register(t, "other", envs(file("/a", sum(data), "")))
	if err := (&sdk{files: map[string][]byte{"/a": data}}).offer(t, f.staging, "other"); err != nil {
		t.Fatal(err)
	}
	theirs := f.store.Dependencies("other", "env")[0]
	if _, err := f.get(t, theirs); err != nil {
		t.Errorf("their own worker: %v", err)
	}
	f.register(t, "mine", envs(file("/b", "", "")))
	web := &pipepb.ArtifactInformation{TypeUrn: typeURL, TypePayload: marshal(&pipepb.ArtifactUrlPayload{Url: "http://127.0.0.1:1/inside"})}
	embedded := &pipepb.ArtifactInformation{TypeUrn: typeEmbedded, TypePayload: marshal(&pipepb.EmbeddedFilePayload{Data: data})}
	for _, a := range []*pipepb.ArtifactInformation{theirs, web, embedded} {
		if _, err := f.get(t, a); status.Code(err) != codes.NotFound {
			t.Errorf("%s: %v, want NOT_FOUND", describe(a), err)
		}
	}
	f.works = "nobody"
	if _, err := f.get(t, theirs); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a stranger: %v, want PERMISSION_DENIED", err)
	}
}

// TestConcurrentStaging: a second stream for a job is refused while the first
// is busy, and a vanished client frees the job.
func TestConcurrentStaging(t *testing.T) {
	f := serve(t, Options{})
	f.register(t, "tok", envs(file("/a", "", "")))
	ctx, cancel := context.WithCancel(t.Context())
	first, err := f.staging.ReverseArtifactRetrievalService(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Send(&jobpb.ArtifactResponseWrapper{StagingToken: "tok"}); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := (&sdk{}).offer(t, f.staging, "tok"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("second stream: %v", err)
	}
	cancel()
	for { // the server notices in its own time
		err := (&sdk{}).offer(t, f.staging, "tok")
		if err == nil {
			break
		}
		if status.Code(err) != codes.FailedPrecondition {
			t.Fatal(err)
		}
	}
}

// TestEarlyEnd: a client that hangs up in the middle leaves nothing behind.
func TestEarlyEnd(t *testing.T) {
	f := serve(t, Options{})
	f.register(t, "tok", envs(file("/a", "", "")))
	s, err := f.staging.ReverseArtifactRetrievalService(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := &sdk{files: map[string][]byte{"/a": []byte("half")}}
	_ = s.Send(&jobpb.ArtifactResponseWrapper{StagingToken: "tok"})
	req, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Send(client.answer(req)[0])
	if _, err = s.Recv(); err != nil {
		t.Fatal(err)
	}
	_ = s.Send(chunk([]byte("ha")))
	_ = s.CloseSend()
	if _, err = s.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("%v, want ABORTED", err)
	}
	if n := f.blobs(t); n != 0 {
		t.Errorf("%d files are left", n)
	}
	if d := f.store.Dependencies("tok", "env"); len(d) != 1 || payloadOf(d[0]).(*pipepb.ArtifactFilePayload).GetPath() != "/a" {
		t.Errorf("dependencies %v, want them as submitted", d)
	}
}
