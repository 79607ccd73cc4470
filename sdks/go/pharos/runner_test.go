package pharos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/passert"
	"github.com/pharos-beam/pharos/internal/cli"
	"github.com/pharos-beam/pharos/internal/server/jobserver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

var squared = beam.NewCounter("test", "squared")

func square(ctx context.Context, x int) int {
	squared.Inc(ctx, 1)
	return x * x
}

func fail(x int) (int, error) { return 0, fmt.Errorf("boom %d", x) }

// started and finish are of the one test that waits.
var started, finish = make(chan struct{}, 1), make(chan struct{})

func hang(x int) int {
	started <- struct{}{}
	<-finish
	return x
}

func init() {
	register.Function1x1(hang)
	register.Function2x1(square)
	register.Function1x2(fail)
}

func TestMain(m *testing.M) {
	beam.Init()
	os.Exit(m.Run())
}

func squares() *beam.Pipeline {
	p, s := beam.NewPipelineWithRoot()
	passert.Equals(s, beam.ParDo(s, square, beam.Create(s, 1, 2, 3)), 1, 4, 9)
	return p
}

func TestPipelineInThisProcess(t *testing.T) {
	result, err := beam.Run(t.Context(), "pharos", squares())
	if err != nil {
		t.Fatal(err)
	}
	counters := result.Metrics().AllMetrics().Counters()
	if len(counters) != 1 || counters[0].Name() != "squared" || counters[0].Result() != 3 {
		t.Errorf("counters: %v", counters)
	}
	if servers.server != nil {
		t.Error("the server outlives its pipeline")
	}
}

func TestNoFileIsLeft(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if _, err := beam.Run(t.Context(), "pharos", squares()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v (%v)", left, err)
	}
}

func TestTwoAtOnceShareTheServer(t *testing.T) {
	first, release, err := servers.acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	second, releaseSecond, err := servers.acquire()
	if err != nil || first != second {
		t.Errorf("the second got %s, the first %s (%v)", second, first, err)
	}
	releaseSecond()
	if servers.server == nil {
		t.Error("the server ended before its last pipeline")
	}
}

func TestFailureNamesTheTransform(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	beam.ParDo(s.Scope("ThisStep"), fail, beam.Create(s, 7))
	if _, err := beam.Run(t.Context(), "pharos", p); err == nil || !strings.Contains(err.Error(), "boom 7") {
		t.Errorf("the job ended with %v", err)
	}
}

func serve(t *testing.T) *cli.Embedded {
	cfg, err := config()
	if err != nil {
		t.Fatal(err)
	}
	server, err := cli.Embed(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	*jobopts.Endpoint = server.JobEndpoint
	t.Cleanup(func() { *jobopts.Endpoint = "" })
	return server
}

func TestEndOfTheContextCancelsTheJob(t *testing.T) {
	server := serve(t)
	t.Cleanup(func() { close(finish) })
	ctx, cancel := context.WithCancel(t.Context())
	var result beam.PipelineResult
	var err error
	var ran sync.WaitGroup
	ran.Go(func() {
		p, s := beam.NewPipelineWithRoot()
		beam.ParDo(s, hang, beam.Create(s, 1))
		result, err = Execute(ctx, p)
	})
	<-started
	cancel()
	ran.Wait()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	cc, err := grpc.NewClient(server.JobEndpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	state, err := jobpb.NewJobServiceClient(cc).GetState(t.Context(), &jobpb.GetJobStateRequest{JobId: result.JobID()})
	if err != nil || state.GetState() != jobpb.JobState_CANCELLED {
		t.Errorf("the job is %v (%v)", state.GetState(), err)
	}
}

func TestBadOptions(t *testing.T) {
	for name, set := range map[string]func(){
		`--pharos_memory: "lots"`:  func() { *memory = "lots" },
		"--pharos_max_attempts: 0": func() { *attempts = 0 },
		"--endpoint":               func() { *jobopts.Async = true },
		"127.0.0.1:1:":             func() { *jobopts.Endpoint = "127.0.0.1:1:" },
	} {
		set()
		_, err := Execute(t.Context(), squares())
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		*memory, *jobopts.Async, *jobopts.Endpoint, *attempts = "", false, "", defaultAttempts
	}
}

// stranger is a job service of another version.
type stranger struct {
	jobpb.UnimplementedJobServiceServer
}

func (stranger) DescribePipelineOptions(context.Context, *jobpb.DescribePipelineOptionsRequest) (*jobpb.DescribePipelineOptionsResponse, error) {
	return &jobpb.DescribePipelineOptionsResponse{}, nil
}

func TestGreet(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(jobserver.Announce("99.0.0", ""))
	jobpb.RegisterJobServiceServer(g, stranger{})
	var served sync.WaitGroup
	served.Go(func() { g.Serve(lis) })
	if err := greet(t.Context(), lis.Addr().String()); err != nil { // a build of the tests has no version
		t.Error(err)
	}
	g.Stop()
	served.Wait()
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		server, client string
		fits           bool
	}{
		{"1.2.3", "1.0.0", true}, {"2.0.0", "1.9.0", false}, {"0.1.7", "v0.1.0", true}, {"0.2.0", "0.1.0", false},
		{"1.0.0", "0.1.0", false}, {"dev-0123", "0.1.0", true}, {"v0.0.0-20261127010203-0123456789ab", "0.1.0", true},
	} {
		if fits(c.server, c.client) != c.fits {
			t.Errorf("%s and %s: fits is not %v", c.server, c.client, c.fits)
		}
	}
}
