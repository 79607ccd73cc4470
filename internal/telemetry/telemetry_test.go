package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/job"
)

// collect is a collector: it keeps the spans it is sent.
func collect(t *testing.T) (url string, spans func() []*tracepb.Span) {
	var mu sync.Mutex
	var all []*tracepb.Span
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		b, err := io.ReadAll(body)
		req := &collector.ExportTraceServiceRequest{}
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(b, req) != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range req.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				all = append(all, ss.GetSpans()...)
			}
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []*tracepb.Span {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func TestJobIsOneTrace(t *testing.T) {
	url, spans := collect(t)
	traces, err := Open(context.Background(), url, "v0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	traces.Attempt(job.AttemptTrace{Job: "j", StageName: "Read", Started: at, Ended: at.Add(time.Second), Committed: at.Add(2 * time.Second)})
	traces.Attempt(job.AttemptTrace{Job: "j", StageName: "Parse", Started: at, Ended: at.Add(time.Second), Err: "ValueError: boom"})
	traces.JobEnded("j", "wordcount", "FAILED", at, at.Add(3*time.Second))
	if err := traces.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	byName := map[string]*tracepb.Span{}
	for _, s := range spans() {
		byName[s.GetName()] = s
	}
	root := byName["job wordcount"]
	if root == nil || len(root.GetParentSpanId()) != 0 || root.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Fatalf("the job's span is %v", root)
	}
	read, parse, commit := byName["bundle Read"], byName["bundle Parse"], byName["commit"]
	for name, s := range map[string]*tracepb.Span{"read": read, "parse": parse} {
		if !bytes.Equal(s.GetParentSpanId(), root.GetSpanId()) || !bytes.Equal(s.GetTraceId(), root.GetTraceId()) {
			t.Errorf("%s is not below the job: %v", name, s)
		}
	}
	if parse.GetStatus().GetMessage() != "ValueError: boom" {
		t.Errorf("the failed attempt says %v", parse.GetStatus())
	}
	if !bytes.Equal(commit.GetParentSpanId(), read.GetSpanId()) || commit.GetEndTimeUnixNano()-commit.GetStartTimeUnixNano() != 1e9 {
		t.Errorf("the commit is %v", commit)
	}
}

func TestAttemptsOfAJobAreLimited(t *testing.T) {
	url, spans := collect(t)
	traces, err := Open(context.Background(), url, "v0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	traces.jobs["j"] = attemptsMax
	traces.Attempt(job.AttemptTrace{Job: "j", StageName: "Read"})
	traces.JobEnded("j", "many", "DONE", time.Now(), time.Now())
	if err := traces.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := spans(); len(got) != 1 || got[0].GetName() != "job many" {
		t.Errorf("%d spans: %v", len(got), got)
	}
}

// A collector that is not there delays nobody.
func TestNoCollector(t *testing.T) {
	traces, err := Open(context.Background(), "http://127.0.0.1:1", "v0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 3 * attemptsMax {
		traces.Attempt(job.AttemptTrace{Job: "j", StageName: "Read"})
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("telling took %v", took)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	traces.Close(ctx)
}
