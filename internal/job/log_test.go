package job

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/storage/logbook"
)

func TestEchoOfLogLine(t *testing.T) {
	line := LogLine{Worker: "go-1234", Severity: "WARN", Message: "careful", Transform: "t", Instruction: "i7"}
	if line.echo() {
		t.Error("a line of its own is no echo")
	}
	echoed := LogLine{Worker: "go-1234", Message: "(time=now)(id=3)" + line.text()}
	if !echoed.echo() {
		t.Errorf("%q is an echo", echoed.Message)
	}
	own := LogLine{Worker: "go-1234", Message: "starting worker go-1234"}
	if own.echo() {
		t.Error("a worker may log its name")
	}
}

// logged is a job whose worker has logged numbered lines, every third of them a
// warning.
func logged(t *testing.T, lines int, o Options) *Job {
	t.Helper()
	m := NewManager(o)
	j := newJob(m, "job-1", &jobpb.PrepareJobRequest{Pipeline: &pipepb.Pipeline{Components: &pipepb.Components{
		Transforms: map[string]*pipepb.PTransform{"t1": {UniqueName: "Read/Parse"}},
	}}}, &plan.Plan{Origin: map[string]string{"t1_fused": "t1"}})
	for n := range lines {
		severity := fnpb.LogEntry_Severity_INFO
		if n%3 == 0 {
			severity = fnpb.LogEntry_Severity_WARN
		}
		j.workerLog("python-abc", &fnpb.LogEntry{
			Severity: severity, Message: fmt.Sprint("line ", n), TransformId: "t1_fused", Timestamp: timestamppb.Now(),
		})
	}
	return j
}

func messages(j *Job, q LogQuery) (all []string) {
	for l := range j.Logs(context.Background(), q) {
		all = append(all, l.Message)
	}
	return all
}

func TestLogQueries(t *testing.T) {
	j := logged(t, 9, Options{Log: slog.New(slog.DiscardHandler)})
	warnings := func(l LogLine) bool { return l.Severity == "WARN" }
	for name, c := range map[string]struct {
		q    LogQuery
		want []string
	}{
		"tail":             {LogQuery{Tail: 2}, []string{"line 7", "line 8"}},
		"match":            {LogQuery{Match: warnings}, []string{"line 0", "line 3", "line 6"}},
		"tail of matches":  {LogQuery{Match: warnings, Tail: 2}, []string{"line 3", "line 6"}},
		"tail beyond all":  {LogQuery{Match: warnings, Tail: 200}, []string{"line 0", "line 3", "line 6"}},
		"the last line":    {LogQuery{Recent: 250}, []string{"line 8"}},
		"recent is enough": {LogQuery{Recent: 1 << 20, Tail: 1}, []string{"line 8"}},
	} {
		if got := messages(j, c.q); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for l := range j.Logs(context.Background(), LogQuery{}) {
		if l.TransformName != "Read/Parse" || l.Worker != "python-abc" {
			t.Errorf("%+v is not whole", l)
		}
	}
}

func TestFollowedLogsEndWithTheJob(t *testing.T) {
	j := logged(t, 3, Options{Log: slog.New(slog.DiscardHandler)})
	done := make(chan []string)
	go func() { done <- messages(j, LogQuery{Follow: true, Tail: 1}) }()
	j.Cancel()
	if got := <-done; !slices.Equal(got, []string{"line 2"}) {
		t.Errorf("%q", got)
	}
}

// Lines are in files, so a runner that is started again has them.
func TestLogsOutliveTheRunner(t *testing.T) {
	dir := t.TempDir()
	book := func() *logbook.Book {
		b, err := logbook.Open(logbook.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	before := book()
	logged(t, 5, Options{Log: slog.New(slog.DiscardHandler), Logs: before})
	before.Close()
	after := book()
	defer after.Close()
	j := logged(t, 1, Options{Log: slog.New(slog.DiscardHandler), Logs: after})
	if got := messages(j, LogQuery{}); len(got) != 6 {
		t.Errorf("%q, want five lines and then one", got)
	}
}

func TestLinesOnTheServersOutput(t *testing.T) {
	var out bytes.Buffer
	logged(t, 4, Options{
		Log:       slog.New(slog.DiscardHandler),
		WorkerLog: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want the two warnings:\n%s", len(lines), out.String())
	}
	for _, want := range []string{`"level":"WARN"`, `"msg":"line 3"`, `"job":"job-1"`, `"worker":"python-abc"`, `"transform":"Read/Parse"`} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("%s is not in %s", want, lines[1])
		}
	}
}

// A worker that logs megabytes costs a bounded amount of memory.
func TestHistoryIsBoundedInBytes(t *testing.T) {
	h := newHistory(eventBytes)
	text := strings.Repeat("x", 1<<20)
	for range 100 {
		h.add(Event{Message: &jobpb.JobMessage{MessageText: text}})
	}
	items, next, _, _ := h.from(0)
	if next != 100 || len(items) > maxHistoryBytes>>20 || len(items) < maxHistoryBytes>>21 {
		t.Errorf("%d items of a MiB are kept, of %d", len(items), next)
	}
	if h.bytes != len(items)<<20 {
		t.Errorf("%d bytes are counted for %d MiB", h.bytes, len(items))
	}
}
