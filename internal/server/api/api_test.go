package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/server"
	"github.com/pharos-beam/pharos/internal/server/api"
	"github.com/pharos-beam/pharos/internal/server/servertest"
	"google.golang.org/protobuf/proto"
)

func serve(t *testing.T) (*servertest.Jobs, string) {
	t.Helper()
	jobs := &servertest.Jobs{}
	s := httptest.NewServer(api.Handler(jobs, "v0"))
	t.Cleanup(s.Close)
	return jobs, s.URL
}

func ask(t *testing.T, method, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestEmptyListsAreLists(t *testing.T) {
	jobs, url := serve(t)
	if _, body := ask(t, "GET", url+"/api/jobs"); !strings.Contains(body, `"jobs": []`) {
		t.Errorf("no jobs: %s", body)
	}
	j := jobs.Add("x")
	for _, path := range []string{"", "/metrics", "/plan"} {
		if code, body := ask(t, "GET", url+"/api/jobs/"+j.ID()+path); code != 200 || strings.Contains(body, "null") {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func TestErrors(t *testing.T) {
	jobs, url := serve(t)
	j := jobs.Add("x")
	for _, c := range []struct {
		method, path string
		code         int
		header       []string
	}{
		{"GET", "/api/jobs/nobody", 404, nil},
		{"GET", "/api/jobs/nobody/logs", 404, nil},
		{"GET", "/api/nothing", 404, nil},
		{"GET", "/api/jobs/" + j.ID() + "/drain", 404, nil},
		{"GET", "/api/jobs/" + j.ID() + "/cancel", 404, nil},
		{"POST", "/api/jobs/" + j.ID() + "/cancel", 403, []string{"Origin", "https://elsewhere.example"}},
	} {
		if code, body := ask(t, c.method, url+c.path, c.header...); code != c.code {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.path, code, c.code, body)
		}
	}
	if j.Cancelled() != 0 {
		t.Error("another site's page cancelled a job")
	}
	if code, _ := ask(t, "POST", url+"/api/jobs/"+j.ID()+"/cancel"); code != 200 || j.Cancelled() != 1 {
		t.Errorf("cancel: %d", code)
	}
	if code, body := ask(t, "POST", url+"/api/jobs/"+jobs.Add("y").ID()+"/drain"); code != 200 || !strings.Contains(body, "DRAINED") {
		t.Errorf("drain: %d %s", code, body)
	}
}

func TestProgress(t *testing.T) {
	jobs, _ := serve(t)
	j := jobs.Add("x")
	for _, c := range []struct {
		p    server.StageProgress
		want float64
	}{
		{server.StageProgress{}, 0},
		{server.StageProgress{InputElements: 1, PendingElements: 3}, 0.25},
		{server.StageProgress{InputElements: 1}, 0.99}, // more may come
		{server.StageProgress{InputElements: 1, Watermark: timestamp.Max}, 1},
		{server.StageProgress{InputElements: 1, Watermark: timestamp.Max, InFlight: 1}, 0.99},
		{server.StageProgress{State: "done"}, 1},
	} {
		j.Set(nil, []server.StageProgress{c.p}, nil, nil)
		if got := api.Describe(j).Stages[0].Done; got != c.want {
			t.Errorf("%+v: done %v, want %v", c.p, got, c.want)
		}
	}
}

// TestWaiting asks how far a job is, and why not further, in each of the ways
// there are.
func TestWaiting(t *testing.T) {
	jobs, _ := serve(t)
	j := jobs.Add("x")
	p := &plan.Plan{Stages: []*plan.Stage{{Name: "Read, Count", Transforms: []string{"read", "count"}}}}
	j.Set(p, []server.StageProgress{{
		State: "waiting", PendingElements: 3, PendingBytes: 700, InputWatermark: 5000, Watermark: 2000, Waiting: "somebody holds it",
	}}, nil, nil)
	if s := api.Describe(j).Stages[0]; s.PendingBytes != 700 || s.InputMarkMS != 5000 || s.WatermarkMS != 2000 || s.Waiting != "somebody holds it" {
		t.Errorf("stage %+v", s)
	}
	var text strings.Builder
	if err := api.JobPlan(j).WriteText(&text); err != nil || !strings.Contains(text.String(), "  is waiting, watermark 1970-01-01T00:00:02Z: somebody holds it\n") {
		t.Errorf("%v; plan:\n%s", err, text.String())
	}
	var got []string
	for _, m := range api.Metrics(j).Runner {
		got = append(got, fmt.Sprint(m.URN, " ", m.Transform, " ", m.Value))
	}
	want := []string{
		"pharos:metric:input_watermark:v1 read 1970-01-01T00:00:05Z", "pharos:metric:output_watermark:v1 read 1970-01-01T00:00:02Z",
		"pharos:metric:backlog_elements:v1 read 3", "pharos:metric:backlog_bytes:v1 read 700",
		"pharos:metric:input_watermark:v1 count 1970-01-01T00:00:05Z", "pharos:metric:output_watermark:v1 count 1970-01-01T00:00:02Z",
	}
	if !slices.Equal(got, want) {
		t.Errorf("metrics\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// TestFollow reads lines as they come, to the end of the job.
func TestFollow(t *testing.T) {
	jobs, url := serve(t)
	j := jobs.Add("x")
	resp, err := http.Get(url + "/api/jobs/" + j.ID() + "/logs?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	for i := range 3 {
		j.Log(server.LogLine{At: time.Now(), Message: fmt.Sprint(i)})
		if !in.Scan() {
			t.Fatal("the stream ended early")
		}
		var l api.LogLine
		if err := json.Unmarshal(in.Bytes(), &l); err != nil || l.Message != fmt.Sprint(i) {
			t.Errorf("line %d: %s, %v", i, in.Text(), err)
		}
	}
	j.Enter(jobpb.JobState_DONE)
	if in.Scan() || in.Err() != nil {
		t.Errorf("after the end came %q, %v", in.Text(), in.Err())
	}
	_, body := ask(t, "GET", url+"/api/jobs/"+j.ID()+"/messages?follow=1")
	if lines := strings.Split(strings.TrimSpace(body), "\n"); len(lines) != 2 || !strings.Contains(lines[1], `"DONE"`) {
		t.Errorf("messages: %s", body)
	}
}

func TestMetricValues(t *testing.T) {
	trie, err := proto.Marshal(&pipepb.BoundedTrie{Bound: 10, Singleton: []string{"a/", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	for typ, c := range map[string]struct{ payload, want string }{
		"sum_int64":           {"\xac\x02", "300"},
		"sum_double":          {"\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5"},
		"distribution_int64":  {"\x02\x05\x01\x04", `{"count":2,"sum":5,"min":1,"max":4}`},
		"distribution_double": {"\x01\x3f\xf8\x00\x00\x00\x00\x00\x00\x3f\xf8\x00\x00\x00\x00\x00\x00\x3f\xf8\x00\x00\x00\x00\x00\x00", `{"count":1,"sum":1.5,"min":1.5,"max":1.5}`},
		"latest_int64":        {"\x05\x09", `{"time_ms":5,"value":9}`},
		"set_string":          {"\x00\x00\x00\x02\x01a\x02bc", `["a","bc"]`},
		"top_n_int64":         {"\xff\xff\xff\xff\x02\x01\x02\x00", "[1,2]"},
		"progress":            {"\x00\x00\x00\x00", "[]"},
		"bounded_trie":        {string(trie), `{"bound":10,"singleton":["a/","b"]}`},
		"unknown":             {"\x01\x02", `"AQI="`},
		// Broken payloads show as they are.
		"sum_double:short":     {"", `""`},
		"set_string:short":     {"\x00\x00\x00\x02\x01a", `"AAAAAgFh"`},
		"set_string:huge":      {"\x7f\xff\xff\xff", `"f////w=="`},
		"set_string:negative":  {"\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", `"AAAAAf///////////wE="`},
		"sum_double:nan":       {"\x7f\xf8\x00\x00\x00\x00\x00\x00", `"f/gAAAAAAAA="`},
		"histogram_int64:junk": {"\xff", `"/w=="`},
	} {
		t.Run(typ, func(t *testing.T) {
			jobs, _ := serve(t)
			j := jobs.Add("x")
			name, _, _ := strings.Cut(typ, ":")
			j.Set(nil, nil, nil, []*pipepb.MonitoringInfo{{Urn: "u", Type: "beam:metrics:" + name + ":v1", Payload: []byte(c.payload)}})
			b, err := json.Marshal(api.Metrics(j).Committed[0].Value)
			// protojson varies its spaces on purpose.
			if got := strings.ReplaceAll(string(b), " ", ""); err != nil || got != c.want {
				t.Errorf("%s, %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestPlanOfOddStages(t *testing.T) {
	v := api.NewPlanView(&plan.Plan{Stages: []*plan.Stage{
		{Kind: plan.Group, Group: &plan.GroupSpec{Strategy: plan.Shuffle}, Outputs: []*plan.Output{{}}},
		{Kind: plan.Group}, {Kind: plan.TestStream}, {},
	}})
	var kinds []string
	for _, s := range v.Stages {
		kinds = append(kinds, s.Kind)
	}
	if got := strings.Join(kinds, ", "); got != "group (shuffle), group (reduce), test-stream, unknown" {
		t.Error(got)
	}
}
