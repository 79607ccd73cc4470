package scrape

import (
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	dto "github.com/prometheus/client_model/go"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/server"
	"github.com/pharos-beam/pharos/internal/server/servertest"
)

func read(t *testing.T, jobs *servertest.Jobs) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(Options{Jobs: jobs, Version: "v0", Log: slog.New(slog.DiscardHandler)}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	page, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(page)))
	if err != nil {
		t.Fatalf("%v in\n%s", err, page)
	}
	return families
}

func counter(u, name string) *pipepb.MonitoringInfo {
	return &pipepb.MonitoringInfo{
		Urn: u, Type: urn.TypeSumInt64, Payload: []byte{1}, Labels: map[string]string{urn.LabelPTransform: "t", urn.LabelNamespace: "ns", urn.LabelName: name},
	}
}

func omitted(families map[string]*dto.MetricFamily) float64 {
	return families["pharos_scrape_omitted_series"].GetMetric()[0].GetGauge().GetValue()
}

func TestSeriesOfAJobAreLimited(t *testing.T) {
	jobs := &servertest.Jobs{}
	var infos []*pipepb.MonitoringInfo
	for n := range seriesMax + 10 {
		infos = append(infos, counter(urn.MetricUserSumInt64, fmt.Sprint(n)))
	}
	jobs.Add("many").Set(nil, nil, nil, infos)
	families := read(t, jobs)
	if n := len(families["beam_user_counter_total"].GetMetric()); n != seriesMax {
		t.Errorf("%d series, want %d", n, seriesMax)
	}
	if n := omitted(families); n != 10 {
		t.Errorf("%v left out, want 10", n)
	}
}

// What an SDK sends is not to be trusted: it costs series, never the page.
func TestOddMetricsAreLeftOut(t *testing.T) {
	long := strings.Repeat("é", labelMax)
	jobs := &servertest.Jobs{}
	odd := []*pipepb.MonitoringInfo{
		counter(urn.MetricUserSumInt64, long),
		counter(urn.MetricUserSumInt64, "same"),
		counter(urn.MetricUserDistributionInt64, "a sum"),
		{Urn: urn.MetricElementCount, Type: urn.TypeDistributionInt64, Payload: []byte{1, 1, 1, 1}},
		{Urn: urn.MetricElementCount, Type: urn.TypeSumInt64, Payload: []byte{0x80}},
		{Urn: "made:up:v1", Type: urn.TypeSumInt64, Payload: []byte{1}},
	}
	same := counter(urn.MetricUserSumInt64, "same")
	same.Labels["OTHER"] = "label"
	jobs.Add("odd").Set(nil, nil, nil, append(odd, same))
	families := read(t, jobs)
	names := map[string]bool{}
	for _, m := range families["beam_user_counter_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			names[l.GetValue()] = true
			if len(l.GetValue()) > labelMax {
				t.Errorf("a label of %d bytes", len(l.GetValue()))
			}
		}
	}
	if !names["same"] || len(families["beam_user_counter_total"].GetMetric()) != 2 {
		t.Errorf("series %v", names)
	}
	if n := omitted(families); n != 4 {
		t.Errorf("%v left out, want 4", n)
	}
}

func TestEndedJobsAreShownForAWhile(t *testing.T) {
	jobs := &servertest.Jobs{}
	jobs.Add("ended").Enter(jobpb.JobState_DONE)
	goesOn := jobs.Add("goes on")
	p := &page{o: Options{Jobs: jobs}, now: time.Now}
	if got := p.choose(jobs.Jobs()); len(got) != 2 || got[0] != server.Job(goesOn) {
		t.Errorf("%d jobs, want two, of which the first goes on", len(got))
	}
	p.now = func() time.Time { return time.Now().Add(endedFor + time.Second) }
	if got := p.choose(jobs.Jobs()); len(got) != 1 || got[0] != server.Job(goesOn) {
		t.Errorf("%d jobs, want the one that goes on", len(got))
	}
}

func TestWatermarksAtTheEndsOfTimeHaveNoLag(t *testing.T) {
	jobs := &servertest.Jobs{}
	jobs.Add("a").Set(nil, []server.StageProgress{
		{Stage: 0, Name: "first", Watermark: timestamp.Min},
		{Stage: 1, Name: "middle", Watermark: timestamp.FromTime(time.Now().Add(-time.Hour))},
		{Stage: 2, Name: "last", Watermark: timestamp.EndOfGlobalWindow},
	}, nil, nil)
	families := read(t, jobs)
	lag := families["pharos_stage_watermark_lag_seconds"].GetMetric()
	if len(lag) != 1 || lag[0].GetGauge().GetValue() < 3600 || lag[0].GetGauge().GetValue() > 3700 {
		t.Errorf("lag %v, want one of an hour", lag)
	}
	if n := len(families["pharos_stage_output_watermark_seconds"].GetMetric()); n != 3 {
		t.Errorf("%d watermarks, want 3", n)
	}
}
