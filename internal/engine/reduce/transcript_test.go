package reduce

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/trigger/triggertest"
	"github.com/pharos-beam/pharos/internal/model/window"
)

var rewrite = flag.Bool("rewrite", false, "write the results into the transcripts")

// TestTranscripts runs testdata/*.txt. A transcript is commands, one per line,
// each followed by what it caused, indented:
//
//	strategy fixed=10 trigger=... [mode=accumulating] [lateness=N] [timestamp=earliest|latest] [closing=always] [ontime=nonempty] [onebyone] [replay]
//	add 1 2 7     elements in one call; value and timestamp are the number
//	watermark N   moves the input watermark, or to "inf"
//	clock N       moves processing time
//	state         what is kept: records, values, timers, holds
//
// A pane is written as: window, values, timestamp, timing, #index, and after
// "/" the index among the panes that are not early.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runTranscript(string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			compare(t, got, string(text))
		})
	}
}

// compare shows the first difference with what led to it.
func compare(t *testing.T, got, want string) {
	if got == want {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	at := 0
	for at < len(g) && at < len(w) && g[at] == w[at] {
		at++
	}
	from := func(lines []string) string {
		return strings.Join(lines[max(0, at-5):min(len(lines), at+4)], "\n")
	}
	t.Fatalf("differs in line %d\n--- got\n%s\n--- want\n%s", at+1, from(g), from(w))
}

// runTranscript returns the text with the results replaced by what happens.
func runTranscript(text string) string {
	var (
		out strings.Builder
		w   *world
	)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue // old results
		}
		out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		var results []string
		var err error
		if w, results, err = runCommand(w, strings.Fields(line)); err != nil {
			results = append(results, "error: "+err.Error())
		}
		for _, r := range results {
			out.WriteString("    " + r + "\n")
		}
	}
	return out.String()
}

func runCommand(w *world, words []string) (*world, []string, error) {
	if words[0] == "strategy" {
		s, err := parseStrategy(words[1:])
		if err != nil {
			return nil, nil, err
		}
		if w, err = newWorld(s); err != nil {
			return nil, nil, err
		}
		if slices.Contains(words, "onebyone") {
			w.reducer.OneByOne()
		}
		if slices.Contains(words, "replay") {
			w.reducer.Replay()
		}
		return w, nil, nil
	}
	if w == nil {
		return nil, nil, fmt.Errorf("no strategy")
	}
	before, dropped := w.output, w.dropped
	var err error
	switch words[0] {
	case "add":
		var elems []coder.Element
		for _, word := range words[1:] {
			ts, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return w, nil, err
			}
			t := timestamp.Time(ts)
			elems = append(elems, element(word, t, assign(w.strategy, t)...))
		}
		err = w.add(elems...)
	case "watermark":
		err = w.watermark(parseTime(words[1]))
	case "clock":
		err = w.clock(int64(parseTime(words[1])))
	case "state":
		return w, w.describe(), nil
	default:
		err = fmt.Errorf("unknown command %q", words[0])
	}
	var results []string
	for _, p := range w.take() {
		results = append(results, p.show(w.strategy.Kind))
	}
	if n := w.dropped - dropped; n > 0 {
		results = append(results, fmt.Sprintf("dropped %d", n))
	}
	if w.output != before {
		results = append(results, "output watermark "+showTime(w.output))
	}
	return w, results, err
}

func parseTime(s string) timestamp.Time {
	if s == "inf" {
		return timestamp.Max
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return timestamp.Time(n)
}

// describe lists all that is kept for the key.
func (w *world) describe() []string {
	var lines []string
	c := &call{r: w.reducer, env: w.env()}
	if _, err := c.readWindows(); err != nil {
		return []string{err.Error()}
	}
	for _, r := range c.open {
		line := fmt.Sprintf("%s: %d values, %d new", showWindow(w.strategy.Kind, r.window), r.total, r.fresh)
		if r.closed {
			line = showWindow(w.strategy.Kind, r.window) + ": closed"
		}
		if t, ok := w.holds[string(r.window)]; ok {
			line += ", hold " + showTime(t)
		}
		if at, ok := w.timers[timerKey{string(r.window), tagEvent, EventTime}]; ok {
			line += ", timer " + showTime(timestamp.Time(at))
		}
		if at, ok := w.timers[timerKey{string(r.window), tagProcessing, ProcessingTime}]; ok {
			line += ", wake " + showTime(timestamp.Time(at))
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	if n := len(w.kv); n == 0 && len(w.timers) == 0 && len(w.holds) == 0 {
		lines = append(lines, "nothing")
	}
	return lines
}

// parseStrategy reads the words of a strategy command.
func parseStrategy(words []string) (*window.Strategy, error) {
	s := &window.Strategy{
		Kind: window.Interval, FnURN: "test", OnTimeAlways: true,
		Trigger:      triggertest.MustParse("default"),
		Accumulation: pipepb.AccumulationMode_DISCARDING, Combiner: pipepb.OutputTime_END_OF_WINDOW,
	}
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "onebyone", "replay": // of the reducer
		case "global":
			s.Kind = window.Global
		case "fixed":
			s.SizeMS = n
		case "sliding":
			size, period, _ := strings.Cut(value, "/")
			s.SizeMS, _ = strconv.ParseInt(size, 10, 64)
			s.PeriodMS, _ = strconv.ParseInt(period, 10, 64)
		case "sessions":
			s.GapMS, s.Merging = n, true
		case "trigger":
			t, err := triggertest.Parse(value)
			if err != nil {
				return nil, err
			}
			s.Trigger = t
		case "mode":
			s.Accumulation = map[string]pipepb.AccumulationMode_Enum{
				"discarding": pipepb.AccumulationMode_DISCARDING, "accumulating": pipepb.AccumulationMode_ACCUMULATING,
				"retracting": pipepb.AccumulationMode_RETRACTING,
			}[value]
		case "lateness":
			s.AllowedLatenessMS = n
		case "timestamp":
			s.Combiner = map[string]pipepb.OutputTime_Enum{
				"earliest": pipepb.OutputTime_EARLIEST_IN_PANE, "latest": pipepb.OutputTime_LATEST_IN_PANE,
				"end": pipepb.OutputTime_END_OF_WINDOW,
			}[value]
		case "closing":
			s.ClosingAlways = value == "always"
		case "ontime":
			s.OnTimeAlways = value == "always"
		default:
			return nil, fmt.Errorf("unknown option %q", word)
		}
	}
	return s, nil
}
