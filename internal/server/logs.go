package server

import (
	"slices"
	"strings"
	"time"
)

// LogLine is a line that a worker, or the runner on behalf of the job, logged.
type LogLine struct {
	At            time.Time
	Severity      string // one of Severities
	Message       string
	Transform     string // id
	TransformName string // as the pipeline's author knows it
	Worker        string
	Instruction   string
	Logger        string
}

// Severities of log lines, least first: Beam's.
var Severities = []string{"TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "ERROR", "CRITICAL"}

// LogQuery asks for log lines. The zero value asks for all that are there.
type LogQuery struct {
	// Follow goes on with the lines to come, until the job has ended.
	Follow bool
	// Tail is how many of the lines that are there are wanted, counted from the
	// end; 0: all.
	Tail int
	// Recent is how many bytes of the log, counted from its end, are looked at;
	// 0: all.
	Recent int64
	// Severity is the least one that is wanted; empty: any.
	Severity string
	// Transform is the id, or a part of the name, of a transform; Worker and Text
	// are parts of a worker's name and of the message. Case does not matter.
	Transform, Worker, Text string
	// Since is the earliest time that is wanted.
	Since time.Time
}

// MaxTail bounds LogQuery.Tail.
const MaxTail = 10_000

// Match says whether a line is one that is asked for.
func (q LogQuery) Match(l LogLine) bool {
	return severity(l.Severity) >= severity(q.Severity) && !l.At.Before(q.Since) &&
		(strings.EqualFold(l.Transform, q.Transform) || part(l.TransformName, q.Transform)) &&
		part(l.Worker, q.Worker) && part(l.Message, q.Text)
}

func severity(name string) int { return slices.Index(Severities, name) }

// part says whether s has p in it.
func part(s, p string) bool {
	return p == "" || strings.Contains(strings.ToLower(s), strings.ToLower(p))
}
