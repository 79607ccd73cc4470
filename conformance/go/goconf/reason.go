package main

import (
	"regexp"
	"strings"
)

const (
	reasonLimit = 400
	causeLines  = 6 // of an error's innermost cause, the stack left out
	outputLimit = 6000
)

var (
	whyLine   = regexp.MustCompile(`(?i)panic:|failed to execute job|unexpected|want|failed|error|timed? ?out|unsupported|no such`)
	noise     = regexp.MustCompile(`^\s*(===|---|PASS|FAIL|ok |exit status|goroutine |(time=|\d{4}/\d\d/\d\d ).*(Prepared job|Submitted job|Staged|starting Loopback|stopping Loopback|Job state|Serving|dialing|No environment|No prepared|Test .*currently))`)
	stamp     = regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(\.\d+)? `)
	fileLine  = regexp.MustCompile(`^\s+\S+\.go:\d+: `)
	jobFailed = regexp.MustCompile(`Failed to execute job|tried cross-language|job \S+ failed`)
)

// bestLine picks the line of out which says best why the test failed.
func bestLine(out []string) string {
	best, score := "", 0
	for _, l := range out {
		if noise.MatchString(l) || strings.TrimSpace(l) == "" {
			continue
		}
		if s := worth(l); s > score {
			best, score = l, s
		}
	}
	return clip(stamp.ReplaceAllString(strings.TrimSpace(best), ""), reasonLimit)
}

func worth(line string) int {
	s := 1
	if fileLine.MatchString(line) {
		s += 2
	}
	if whyLine.MatchString(line) {
		s++
	}
	if strings.HasPrefix(line, "panic:") {
		s = 5
	}
	return s
}

// reasonOf is bestLine, but for a failed job it is the end of the runner's "caused by" chain or, without one, the
// first lines of the job's message.
func reasonOf(out []string) string {
	msg := jobMessage(out)
	if msg == nil {
		return bestLine(out)
	}
	for i := len(msg) - 1; i >= 0; i-- {
		if strings.HasPrefix(msg[i], "caused by:") {
			msg = msg[i+1:]
			break
		}
	}
	if len(msg) > causeLines {
		msg = msg[:causeLines]
	}
	return clip(strings.Join(msg, " | "), reasonLimit)
}

// jobMessage returns the lines from the one that says that a job failed, up to the first stack trace; nil without
// such a line.
func jobMessage(out []string) (msg []string) {
	for i, l := range out {
		if !jobFailed.MatchString(l) {
			continue
		}
		for _, l := range out[i:] {
			t := strings.TrimSpace(l)
			if t == "FAIL" || strings.HasPrefix(t, "goroutine ") {
				break
			}
			before, _, stack := strings.Cut(t, " goroutine ")
			if stack {
				return append(msg, before)
			}
			if t != "" && !noise.MatchString(l) {
				msg = append(msg, t)
			}
		}
		return msg
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "..."
	}
	return s
}

func tail(out []string) string {
	s := strings.Join(out, "\n")
	if len(s) > outputLimit {
		s = "..." + s[len(s)-outputLimit:]
	}
	return s
}
