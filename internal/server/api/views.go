// Package api is what people and programs see of jobs over HTTP: a view, a
// plain struct with JSON names, for each question, and handlers that serve
// them. The command line and the pages use the same views.
//
// Invariants:
//   - A view is a copy; nothing in it changes when the job does.
//   - Lists are never null in JSON, and their order is stable.
//   - What changes a job is a POST, and refused when a page of another site
//     sends it.
package api

import (
	"context"
	"sort"
	"strings"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/pharos-beam/pharos/internal/model/secret"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/server"
)

// Summary is a job in a list.
type Summary struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	State    string    `json:"state"`
	Terminal bool      `json:"terminal"`
	Created  time.Time `json:"created"`
	Since    time.Time `json:"since"` // of the state
	// Suspended is why the job does nothing until the runner is started again.
	Suspended string `json:"suspended,omitempty"`
}

// suspended is shown for the state of a job that is suspended.
const suspended = "SUSPENDED"

// Shown is the state, for people.
func (s Summary) Shown() string {
	if s.Suspended != "" {
		return suspended
	}
	return s.State
}

// Elapsed is how long the job has been, or was, under way.
func (s Summary) Elapsed(now time.Time) time.Duration {
	if s.Terminal {
		now = s.Since
	}
	return now.Sub(s.Created).Round(100 * time.Millisecond)
}

// JobView describes one job.
type JobView struct {
	Summary
	PreparationID string `json:"preparation_id"`
	Error         string `json:"error,omitempty"` // the last error message of a failed job
	// Options are the pipeline options, by name; secret ones are masked.
	Options  map[string]any `json:"options"`
	Stages   []Stage        `json:"stages"`
	Messages []Message      `json:"messages"` // the newest maxMessages
}

// Stage is how far a stage is.
type Stage struct {
	Stage  int    `json:"stage"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	State  string `json:"state"`
	Input  int64  `json:"input_elements"`
	Output int64  `json:"output_elements"`
	// Pending is the backlog: what waits for a bundle.
	Pending      int64 `json:"pending_elements"`
	PendingBytes int64 `json:"pending_bytes"`
	InFlight     int64 `json:"in_flight_bundles"`
	// Watermark is that of the output; InputMark that of the input.
	InputMark   string `json:"input_watermark"`
	InputMarkMS int64  `json:"input_watermark_ms"`
	Watermark   string `json:"watermark"`
	WatermarkMS int64  `json:"watermark_ms"`
	// Waiting says why the stage is not further, and who keeps it.
	Waiting string `json:"waiting,omitempty"`
	// Bounded: the stage will end by itself, and so a share done makes sense.
	Bounded bool `json:"bounded"`
	// Done is the share of the input seen so far that has been processed, 0..1;
	// it is 1 when the stage has ended.
	Done float64 `json:"done"`
}

// Percent is Done in percent, for pages.
func (s Stage) Percent() int { return int(s.Done * 100) }

// Message is a message of a job, or a change of its state.
type Message struct {
	At         time.Time `json:"at"`
	State      string    `json:"state,omitempty"` // a change of state, otherwise a message:
	Importance string    `json:"importance,omitempty"`
	Text       string    `json:"text,omitempty"`
}

// LogLine is a log entry.
type LogLine struct {
	At        time.Time `json:"at"`
	Severity  string    `json:"severity"`
	Message   string    `json:"message"`
	Transform string    `json:"transform,omitempty"` // id
	// TransformName is as the pipeline's author knows it.
	TransformName string `json:"transform_name,omitempty"`
	Worker        string `json:"worker,omitempty"`
	Instruction   string `json:"instruction,omitempty"`
	Logger        string `json:"logger,omitempty"`
}

// maxMessages is how many messages a JobView carries.
const maxMessages = 200

// List returns all jobs, newest first.
func List(jobs server.Jobs) []Summary {
	out := []Summary{}
	for _, j := range jobs.Jobs() {
		out = append(out, summarize(j))
	}
	sort.SliceStable(out, func(a, b int) bool { return out[a].Created.After(out[b].Created) })
	return out
}

func summarize(j server.Job) Summary {
	st, since := j.State()
	return Summary{
		ID: j.ID(), Name: j.Name(), State: st.String(), Terminal: server.Terminal(st), Created: j.Created(), Since: since,
		Suspended: j.Suspended(),
	}
}

// Describe returns one job in full.
func Describe(j server.Job) JobView {
	v := JobView{Summary: summarize(j), PreparationID: j.PreparationID(), Options: options(j), Stages: stages(j)}
	v.Messages, v.Error = messages(j)
	if v.State != jobpb.JobState_FAILED.String() {
		v.Error = ""
	}
	return v
}

// options drops the frame of Beam's around the names of options, and those that
// say nothing.
func options(j server.Job) map[string]any {
	out := map[string]any{}
	for name, v := range secret.Options(j.Options()).AsMap() {
		if v != nil {
			out[strings.TrimSuffix(strings.TrimPrefix(name, "beam:option:"), ":v1")] = v
		}
	}
	return out
}

func stages(j server.Job) []Stage {
	out := []Stage{}
	for _, s := range j.Progress() {
		v := Stage{
			Stage: s.Stage, Name: s.Name, State: s.State,
			Input: s.InputElements, Output: s.OutputElements, Pending: s.PendingElements, InFlight: s.InFlight,
			PendingBytes: s.PendingBytes, InputMark: s.InputWatermark.String(), InputMarkMS: int64(s.InputWatermark),
			Watermark: s.Watermark.String(), WatermarkMS: int64(s.Watermark), Waiting: s.Waiting,
			Kind: s.Kind, Bounded: s.Bounded, Done: share(s),
		}
		out = append(out, v)
	}
	return out
}

// share is the part of a stage's known input that is done. A stage whose input
// has not ended never shows as complete.
func share(s server.StageProgress) float64 {
	if s.State == "done" || s.Watermark >= timestamp.Max && s.PendingElements == 0 && s.InFlight == 0 {
		return 1
	}
	if all := s.InputElements + s.PendingElements; all > 0 && s.InputElements > 0 {
		return min(0.99, float64(s.InputElements)/float64(all))
	}
	return 0
}

// messages returns the newest messages and the text of the last error.
func messages(j server.Job) (out []Message, lastError string) {
	ended, cancel := context.WithCancel(context.Background())
	cancel() // only what has happened so far
	out = []Message{}
	for e := range j.Events(ended) {
		m := message(e)
		if m.Importance == "ERROR" {
			lastError = m.Text
		}
		out = append(out, m)
	}
	return out[max(0, len(out)-maxMessages):], lastError
}

func message(e server.Event) Message {
	if e.Message == nil {
		return Message{At: e.At, State: e.State.String()}
	}
	return Message{At: e.At, Importance: importance(e.Message.GetImportance()), Text: e.Message.GetMessageText()}
}

func importance(i jobpb.JobMessage_MessageImportance) string {
	switch i {
	case jobpb.JobMessage_JOB_MESSAGE_ERROR:
		return "ERROR"
	case jobpb.JobMessage_JOB_MESSAGE_WARNING:
		return "WARNING"
	case jobpb.JobMessage_JOB_MESSAGE_DETAILED:
		return "DETAILED"
	case jobpb.JobMessage_JOB_MESSAGE_DEBUG:
		return "DEBUG"
	}
	return "BASIC"
}

func logLine(l server.LogLine) LogLine { return LogLine(l) }

// recentBytes is how much of a log is looked at for its newest lines.
const recentBytes = 1 << 20

// Logs returns the newest n log lines that a job keeps.
func Logs(j server.Job, n int) []LogLine {
	out := []LogLine{}
	for l := range j.Logs(context.Background(), server.LogQuery{Tail: n, Recent: recentBytes}) {
		out = append(out, logLine(l))
	}
	return out
}
