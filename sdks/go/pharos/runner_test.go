package pharos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/passert"
	"github.com/pharos-beam/pharos/internal/cli"
	"github.com/pharos-beam/pharos/internal/server/jobserver"
	"google.golang.org/grpc"
)

var squared = beam.NewCounter("test", "squared")

func square(ctx context.Context, x int) int {
	squared.Inc(ctx, 1)
	return x * x
}

func fail(x int) (int, error) { return 0, fmt.Errorf("boom %d", x) }

var waited = beam.NewCounter("test", "waited")

// gates are what elements wait for, by their value: those of a job that has been
// cancelled may still run in the next test.
var (
	gates sync.Map // to *gate
	made  int      // of them
)

// gate tells that an element waits for it to be opened.
type gate struct{ reached, open chan struct{} }

func wait(ctx context.Context, x int) int {
	found, _ := gates.Load(x)
	g := found.(*gate)
	select {
	case g.reached <- struct{}{}:
	default:
	}
	<-g.open
	waited.Inc(ctx, 1)
	return x
}

func init() {
	register.Function2x1(wait)
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

func serve(t *testing.T, change func(*cli.Config)) *cli.Embedded {
	cfg, err := config()
	if err != nil {
		t.Fatal(err)
	}
	change(&cfg)
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
	server := serve(t, func(*cli.Config) {})
	ctx, cancel := context.WithCancel(t.Context())
	resume, end := waiting(ctx)
	t.Cleanup(func() { close(resume) })
	cancel()
	result, err := end()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	cc, err := dial(server.JobEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	state, err := jobpb.NewJobServiceClient(cc).GetState(t.Context(), &jobpb.GetJobStateRequest{JobId: result.JobID()})
	if err != nil || state.GetState() != jobpb.JobState_CANCELLED {
		t.Errorf("the job is %v (%v)", state.GetState(), err)
	}
}

// waiting runs a pipeline of which an element waits. It returns when that is so,
// with the channel to close for it to go on, and a function that waits for the end.
func waiting(ctx context.Context) (resume chan struct{}, end func() (beam.PipelineResult, error)) {
	n, g := made, &gate{make(chan struct{}, 1), make(chan struct{})}
	made++
	gates.Store(n, g)
	var ran sync.WaitGroup
	var result beam.PipelineResult
	var err error
	ran.Go(func() {
		p, s := beam.NewPipelineWithRoot()
		beam.ParDo(s, wait, beam.Create(s, n, n, n))
		result, err = Execute(ctx, p)
	})
	<-g.reached
	return g.open, func() (beam.PipelineResult, error) {
		ran.Wait()
		return result, err
	}
}

// A server that keeps its jobs is started again while one runs, whose code is here.
func TestJobGoesOnWithItsServer(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, func(c *cli.Config) { c.Dir, c.Durable, c.StopTimeout = dir, true, time.Millisecond })
	_, port, err := net.SplitHostPort(server.JobEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	resume, end := waiting(t.Context())
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	close(resume)
	serve(t, func(c *cli.Config) {
		c.Dir, c.Durable = dir, true
		c.Port, _ = strconv.Atoi(port)
	})
	result, err := end()
	if err != nil {
		t.Fatal(err)
	}
	query := result.Metrics().Query(func(r metrics.SingleResult) bool { return r.Name() == "waited" })
	if c := query.Counters(); len(c) != 1 || c[0].Committed != 3 {
		t.Errorf("the counter is %v", c)
	}
}

// One that does not come back is an error that names it.
func TestServerThatIsGone(t *testing.T) {
	defer func(d time.Duration) { restartLimit = d }(restartLimit)
	restartLimit = time.Second
	server := serve(t, func(c *cli.Config) { c.Dir, c.Durable, c.StopTimeout = t.TempDir(), true, time.Millisecond })
	resume, end := waiting(t.Context())
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	close(resume)
	if _, err := end(); err == nil || !strings.Contains(err.Error(), "lost job") || !strings.Contains(err.Error(), server.JobEndpoint) {
		t.Errorf("the error is %v", err)
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
