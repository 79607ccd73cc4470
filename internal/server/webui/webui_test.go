package webui_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/server"
	"github.com/pharos-beam/pharos/internal/server/servertest"
	"github.com/pharos-beam/pharos/internal/server/webui"
)

func serve(t *testing.T, jobs *servertest.Jobs) string {
	t.Helper()
	h, err := webui.Handler(jobs, "v0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func page(t *testing.T, address string) (int, string) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("%s may load anything: %q", address, csp)
	}
	return resp.StatusCode, string(b)
}

func TestPages(t *testing.T) {
	jobs := &servertest.Jobs{}
	base := serve(t, jobs)
	if code, body := page(t, base+"/"); code != 200 || !strings.Contains(body, "No job has been submitted") {
		t.Errorf("empty list: %d %s", code, body)
	}
	j := jobs.Add("<script>alert(1)</script>")
	j.Enter(jobpb.JobState_RUNNING)
	label := map[string]string{"NAMESPACE": "my", "NAME": "words"}
	j.Set(&plan.Plan{Stages: []*plan.Stage{{Name: "Read", Kind: plan.Impulse, Why: []string{"because"}}}},
		[]server.StageProgress{{Name: "Count", State: "running", InputElements: 1, PendingElements: 1, Bounded: true, Watermark: timestamp.Min, Waiting: "a worker"}},
		nil, []*pipepb.MonitoringInfo{{Urn: "beam:metric:user:sum_int64:v1", Type: "beam:metrics:sum_int64:v1", Labels: label, Payload: []byte{7}}})
	j.Log(server.LogLine{At: time.Now(), Severity: "WARN", Message: "careful"})
	j.Say(jobpb.JobMessage_JOB_MESSAGE_ERROR, "ValueError: boom")
	j.Enter(jobpb.JobState_FAILED)
	for path, want := range map[string][]string{
		"/":                            {"&lt;script&gt;alert", "FAILED"},
		"/jobs/" + j.ID():              {"Why it failed", "ValueError: boom", "a worker", `value="50"`, "careful", "-inf"},
		"/jobs/" + j.ID() + "/plan":    {"Stage 0", "Starts here: because"},
		"/jobs/" + j.ID() + "/metrics": {"my words", "<td>7</td>"},
	} {
		code, body := page(t, base+path)
		if code != 200 || strings.Contains(body, "<script>alert") {
			t.Errorf("%s: %d, or a job's name is markup", path, code)
		}
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s lacks %q:\n%s", path, w, body)
			}
		}
		noOtherSites(t, path, body)
	}
	j = jobs.Add("rests")
	j.Enter(jobpb.JobState_RUNNING)
	j.Suspend("the disk is full")
	for path, want := range map[string]string{"/": "SUSPENDED", "/jobs/" + j.ID(): "<pre>the disk is full</pre>"} {
		if _, body := page(t, base+path); !strings.Contains(body, want) {
			t.Errorf("%s lacks %q:\n%s", path, want, body)
		}
	}
	if code, _ := page(t, base+"/jobs/nobody"); code != 404 {
		t.Errorf("unknown job: %d", code)
	}
	if code, _ := page(t, base+"/nothing"); code != 404 {
		t.Errorf("unknown page: %d", code)
	}
	for _, f := range []string{"/static/style.css", "/static/live.js"} {
		if code, body := page(t, base+f); code != 200 || body == "" {
			t.Errorf("%s: %d", f, code)
		}
	}
}

var links = regexp.MustCompile(`(?:src|href|action)="([^"]*)"`)

// noOtherSites checks that everything a page loads or leads to is ours.
func noOtherSites(t *testing.T, path, body string) {
	for _, m := range links.FindAllStringSubmatch(body, -1) {
		if !strings.HasPrefix(m[1], "/") || strings.HasPrefix(m[1], "//") {
			t.Errorf("%s refers to %s", path, m[1])
		}
	}
}

func TestCancelButton(t *testing.T) {
	jobs := &servertest.Jobs{}
	base := serve(t, jobs)
	j := jobs.Add("x")
	resp, err := http.PostForm(base+"/jobs/"+j.ID()+"/cancel", url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 || !strings.Contains(string(b), "CANCELLED") || j.Cancelled() != 1 {
		t.Errorf("%s: %s", resp.Status, b)
	}
}
