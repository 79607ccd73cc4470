package job

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"

	"github.com/pharos-beam/pharos/internal/storage/logbook"
)

// messageMax is how many bytes of a log entry are kept, with its stack trace.
const messageMax = 256 << 10

// LogLine is a log entry of a worker or of the runner.
type LogLine struct {
	At            time.Time `json:"at"`
	Severity      string    `json:"severity"`
	Message       string    `json:"message"`
	Transform     string    `json:"transform,omitempty"`      // id
	TransformName string    `json:"transform_name,omitempty"` // as the pipeline's author knows it
	Worker        string    `json:"worker,omitempty"`
	Instruction   string    `json:"instruction,omitempty"`
	Logger        string    `json:"logger,omitempty"`
}

// LogQuery says which log lines are wanted.
type LogQuery struct {
	// Follow goes on with the lines to come, until the job has ended.
	Follow bool
	// Tail is how many of the lines that are there are wanted, counted from the
	// end; 0: all.
	Tail int
	// Recent is how many bytes of the log, counted from its end, are looked at;
	// 0: all.
	Recent int64
	// Match says whether a line is wanted; nil: all are.
	Match func(LogLine) bool
}

// Logs yields the log lines of the job's workers.
func (j *Job) Logs(ctx context.Context, q LogQuery) iter.Seq[LogLine] {
	return func(yield func(LogLine) bool) {
		c := j.logs.Cursor(q.Recent)
		for _, l := range q.last(c) {
			if !yield(l) {
				return
			}
		}
		for {
			for l, ok := q.next(c); ok; l, ok = q.next(c) {
				if !yield(l) {
					return
				}
			}
			if !q.Follow || !c.Wait(ctx) {
				return
			}
		}
	}
}

// last takes what is there now and keeps the end of it; nothing if all is
// wanted.
func (q LogQuery) last(c *logbook.Cursor) []LogLine {
	if q.Tail <= 0 {
		return nil
	}
	var kept []LogLine
	for l, ok := q.next(c); ok; l, ok = q.next(c) {
		if kept = append(kept, l); len(kept) >= 2*q.Tail {
			kept = append(kept[:0], kept[len(kept)-q.Tail:]...)
		}
	}
	return kept[max(0, len(kept)-q.Tail):]
}

// next returns the next line that is wanted.
func (q LogQuery) next(c *logbook.Cursor) (l LogLine, ok bool) {
	for {
		b, ok := c.Next()
		if !ok {
			return LogLine{}, false
		}
		l = LogLine{}
		if json.Unmarshal(b, &l) != nil {
			continue // of another version, or broken on the disk
		}
		if q.Match == nil || q.Match(l) {
			return l, true
		}
	}
}

// workerLog takes a log entry of a worker.
func (j *Job) workerLog(worker string, e *fnpb.LogEntry) {
	line := LogLine{
		At: e.GetTimestamp().AsTime(), Severity: severityName(e.GetSeverity()), Message: e.GetMessage(),
		Transform: e.GetTransformId(), Worker: worker, Instruction: e.GetInstructionId(), Logger: e.GetLogLocation(),
	}
	if e.GetTimestamp() == nil {
		line.At = time.Now()
	}
	if e.GetTrace() != "" {
		line.Message += "\n" + e.GetTrace()
	}
	if line.echo() {
		return
	}
	line.Message = j.secrets.Replace(clip(line.Message, messageMax))
	if line.Transform != "" {
		line.TransformName = j.transformName(line.Transform)
	}
	if b, err := json.Marshal(line); err == nil { // else the time is out of all bounds
		j.logs.Append(b)
	}
	j.echoToServer(line, e.GetSeverity())
	// Clients take the first or the last ERROR message for the reason of a
	// failure; a log entry is none, however grave.
	importance := jobpb.JobMessage_JOB_MESSAGE_WARNING
	switch e.GetSeverity() {
	case fnpb.LogEntry_Severity_TRACE, fnpb.LogEntry_Severity_DEBUG:
		return // in the logs for those who look for it
	case fnpb.LogEntry_Severity_INFO, fnpb.LogEntry_Severity_NOTICE:
		importance = jobpb.JobMessage_JOB_MESSAGE_DETAILED
	}
	j.relay(importance, line.text())
}

// transformName is what the pipeline's author calls a transform of a
// descriptor.
func (j *Job) transformName(id string) string {
	if from := j.plan.Origin[id]; from != "" {
		id = from
	}
	if name := j.pipeline.GetComponents().GetTransforms()[id].GetUniqueName(); name != "" {
		return name
	}
	return id
}

// severityName is what entries that say nothing of their severity have, too:
// some SDKs leave it out for what is printed.
func severityName(s fnpb.LogEntry_Severity_Enum) string {
	if s == fnpb.LogEntry_Severity_UNSPECIFIED {
		s = fnpb.LogEntry_Severity_INFO
	}
	return s.String()
}

// echoToServer writes a line to the server's own output, if that is wanted.
func (j *Job) echoToServer(l LogLine, severity fnpb.LogEntry_Severity_Enum) {
	log := j.m.opts.WorkerLog
	level := levels[severity]
	if log == nil || !log.Enabled(context.Background(), level) {
		return
	}
	args := []any{"job", j.id, "worker", l.Worker}
	for _, a := range [][2]string{{"transform", l.TransformName}, {"instruction", l.Instruction}, {"logger", l.Logger}} {
		if a[1] != "" {
			args = append(args, a[0], a[1])
		}
	}
	log.Log(context.Background(), level, l.Message, args...)
}

var levels = map[fnpb.LogEntry_Severity_Enum]slog.Level{
	fnpb.LogEntry_Severity_TRACE: slog.LevelDebug - 4, fnpb.LogEntry_Severity_DEBUG: slog.LevelDebug,
	fnpb.LogEntry_Severity_INFO: slog.LevelInfo, fnpb.LogEntry_Severity_NOTICE: slog.LevelInfo,
	fnpb.LogEntry_Severity_WARN: slog.LevelWarn, fnpb.LogEntry_Severity_ERROR: slog.LevelError,
	fnpb.LogEntry_Severity_CRITICAL: slog.LevelError + 4,
}

// clip cuts the middle out of what is longer than limit bytes.
func clip(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	head, tail := limit/2, len(s)-limit/2
	for !utf8.RuneStart(s[head]) {
		head--
	}
	for !utf8.RuneStart(s[tail]) {
		tail++
	}
	return s[:head] + "\n... (cut) ...\n" + s[tail:]
}

// text is the line for people.
func (l LogLine) text() string {
	where := l.Worker
	if l.Transform != "" {
		where += " " + l.Transform
	}
	if l.Instruction != "" {
		where += " " + l.Instruction
	}
	return fmt.Sprintf("[%s %s] %s", l.Severity, where, l.Message)
}

// echo says whether the worker only logged what the job had told its client:
// with LOOPBACK the client of the job and the worker are one process, and the
// Go SDK sends all that this process logs to the runner, job messages too.
// Telling the client again would go on for ever.
func (l LogLine) echo() bool {
	before, _, found := strings.Cut(l.Message, " "+l.Worker)
	if !found {
		return false
	}
	_, found = fnpb.LogEntry_Severity_Enum_value[before[strings.LastIndexByte(before, '[')+1:]]
	return found
}
