package cli

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
)

// fakePool starts fake workers, as the service of a LOOPBACK job does.
type fakePool struct {
	fnpb.UnimplementedBeamFnExternalWorkerPoolServer
	process func(*fakesdk.Bundle) error
	mu      sync.Mutex
	workers map[string]*fakesdk.Worker
}

func (p *fakePool) StartWorker(_ context.Context, req *fnpb.StartWorkerRequest) (*fnpb.StartWorkerResponse, error) {
	w, err := fakesdk.Start(fakesdk.Config{Target: req.GetControlEndpoint().GetUrl(), ID: req.GetWorkerId(), Process: p.process})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workers[req.GetWorkerId()] = w
	return &fnpb.StartWorkerResponse{}, nil
}

func (p *fakePool) StopWorker(_ context.Context, req *fnpb.StopWorkerRequest) (*fnpb.StopWorkerResponse, error) {
	p.mu.Lock()
	w := p.workers[req.GetWorkerId()]
	delete(p.workers, req.GetWorkerId())
	p.mu.Unlock()
	if w != nil {
		w.Stop()
	}
	return &fnpb.StopWorkerResponse{}, nil
}

// serveWorkers starts a fakePool and returns its address.
func serveWorkers(t *testing.T, process func(*fakesdk.Bundle) error) string {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	fnpb.RegisterBeamFnExternalWorkerPoolServer(g, &fakePool{process: process, workers: map[string]*fakesdk.Worker{}})
	go g.Serve(lis)
	t.Cleanup(g.Stop)
	return lis.Addr().String()
}

// info is a metric of a fake worker.
func info(u, typ string, payload []byte, labels ...string) *pipepb.MonitoringInfo {
	mi := &pipepb.MonitoringInfo{Urn: u, Type: typ, Payload: payload, Labels: map[string]string{}}
	for i := 0; i < len(labels); i += 2 {
		mi.Labels[labels[i]] = labels[i+1]
	}
	return mi
}

// every reports each kind of metric that the page shows.
func every() []*pipepb.MonitoringInfo {
	three := coder.AppendVarint(nil, 3)
	distribution := []byte{2, 10, 4, 6} // count, sum, min, max
	gauge := []byte{7, 9}               // time, value
	user := []string{urn.LabelPTransform, "make", urn.LabelNamespace, "my.ns", urn.LabelName, "n"}
	infos := []*pipepb.MonitoringInfo{
		info(urn.MetricElementCount, urn.TypeSumInt64, three, urn.LabelPCollection, "c1"),
		info(urn.MetricSampledByteSize, urn.TypeDistributionInt64, distribution, urn.LabelPCollection, "c1"),
		info(urn.MetricUserSumInt64, urn.TypeSumInt64, three, user...),
		info(urn.MetricUserLatestInt64, urn.TypeLatestInt64, gauge, user...),
		info(urn.MetricUserDistributionInt64, urn.TypeDistributionInt64, distribution, user...),
	}
	for _, u := range []string{urn.MetricStartBundleMsecs, urn.MetricProcessBundleMsecs, urn.MetricFinishBundleMsecs, urn.MetricTotalMsecs} {
		infos = append(infos, info(u, urn.TypeSumInt64, three, urn.LabelPTransform, "make"))
	}
	return infos
}

// A scrape of a running job has every metric that docs/metrics.md lists.
func TestMetricsPageHasWhatTheDocumentLists(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	var once sync.Once
	workers := serveWorkers(t, func(b *fakesdk.Bundle) error {
		if _, err := b.Next(); err != nil {
			return err
		}
		if b.Descriptor.GetTransforms()["make"] != nil {
			b.Response.MonitoringInfos = every()
			// An element that has a time, so that the watermark behind it is one.
			at := timestamp.FromTime(time.Now())
			return b.Emit(b.Sinks[0], append(coder.AppendHeader(nil, at, nil, 1, coder.NoFiring), 1, 'x'))
		}
		once.Do(func() { close(inside) })
		<-leave
		return nil
	})
	d, err := open(Config{Host: "127.0.0.1", Dir: t.TempDir(), Durable: true, Memory: 16 << 20, Version: "v0-test", Log: slog.New(slog.DiscardHandler)}, LocalEngine)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	runFake(t, d, workers)
	select {
	case <-inside:
	case <-time.After(time.Minute):
		t.Fatal("the job does not get there")
	}
	families := scrapePage(t, d)
	for _, name := range documented(t) {
		if !onPage(families, name) {
			t.Errorf("%s is in docs/metrics.md and not on the page", name)
		}
	}
	listed := documented(t)
	for name := range families {
		if (strings.HasPrefix(name, "pharos_") || strings.HasPrefix(name, "beam_")) && !slices.Contains(listed, name) {
			t.Errorf("%s is on the page and not in docs/metrics.md", name)
		}
	}
	if got := value(families["beam_user_counter_total"], "metric_name", "n"); got != 3 {
		t.Errorf("the counter is %v, want 3", got)
	}
	if got := value(families["beam_element_count_total"], "pcollection", "c1"); got != 3 {
		t.Errorf("the count of elements is %v, want 3", got)
	}
}

// runFake starts a job: make, then use, in other environments.
func runFake(t *testing.T, d *frontDoor, workers string) {
	p := plantest.New()
	p.ParDo("use", "b", p.ParDo("make", "a", p.Impulse("impulse"), "bytes"), "bytes")
	payload, err := proto.Marshal(&pipepb.ExternalPayload{Endpoint: &pipepb.ApiServiceDescriptor{Url: workers}})
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range p.GetComponents().GetEnvironments() {
		env.Payload = payload
	}
	j, err := d.jobs.Prepare(t.Context(), &jobpb.PrepareJobRequest{JobName: "fake", Pipeline: p.Pipeline})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.jobs.Run(t.Context(), j.PreparationID()); err != nil {
		t.Fatal(err)
	}
}

// scrapePage parses the page as a Prometheus server does.
func scrapePage(t *testing.T, d *frontDoor) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get(d.httpURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v: %s", resp.Status, err, page)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		t.Fatalf("%v in\n%s", err, page)
	}
	return families
}

// documented are the metrics that docs/metrics.md lists.
func documented(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z][a-z0-9_]+)` \\| (?:gauge|counter|summary|histogram) \\|").FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	if len(names) < 40 {
		t.Fatalf("%d metrics; has the table changed its form?", len(names))
	}
	return names
}

func onPage(families map[string]*dto.MetricFamily, name string) bool {
	return len(families[name].GetMetric()) > 0
}

// value is that of the series with a label.
func value(f *dto.MetricFamily, label, is string) float64 {
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label && l.GetValue() == is {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}
