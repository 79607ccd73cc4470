package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/pharos-beam/pharos/internal/server"
	"github.com/pharos-beam/pharos/internal/server/api"
)

const (
	// redrawInterval is how often progress is drawn.
	redrawInterval = 200 * time.Millisecond
	// maxStageLines is how many stages are shown at once.
	maxStageLines = 12
	// defaultWidth is for terminals that do not tell theirs.
	defaultWidth = 80
	barWidth     = 20
)

// screen shows progress in the last lines of a terminal, below everything that
// is written through it. Off a terminal it only passes on what is written.
type screen struct {
	live bool
	mu   sync.Mutex
	w    io.Writer
	tty  *os.File
	// What stands below the last complete line: an unfinished line of the
	// command, and the progress.
	partial []byte
	block   []string
	drawn   int // terminal lines taken by both
}

// newScreen shows progress on w if it is a terminal, or if mode is on.
func newScreen(w io.Writer, mode string) *screen {
	s := &screen{w: w}
	f, ok := w.(*os.File)
	if ok && terminalWidth(f) > 0 {
		s.tty = f
	}
	s.live = mode == "on" || mode == "auto" && s.tty != nil && os.Getenv("TERM") != "dumb"
	return s
}

func (s *screen) width() int {
	if s.tty != nil {
		if w := terminalWidth(s.tty); w > 0 {
			return w
		}
	}
	return defaultWidth
}

// Write implements io.Writer: b appears above the progress.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(s.w, b)
}

func (s *screen) write(w io.Writer, b []byte) (int, error) {
	if !s.live {
		return w.Write(b)
	}
	s.erase()
	s.partial = append(s.partial, b...)
	if end := bytes.LastIndexByte(s.partial, '\n') + 1; end > 0 {
		if _, err := w.Write(s.partial[:end]); err != nil {
			return 0, err
		}
		s.partial = append(s.partial[:0:0], s.partial[end:]...)
	}
	s.draw()
	return len(b), nil
}

// wrap returns a writer for the command's stdout, which may be the same
// terminal. A file or pipe gets the bytes as they are.
func (s *screen) wrap(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok && s.tty != nil && terminalWidth(f) > 0 {
		return s
	}
	return w
}

// erase removes the progress and the unfinished line.
func (s *screen) erase() {
	if s.drawn > 0 {
		fmt.Fprintf(s.w, "\r\x1b[%dA\x1b[J", s.drawn)
		s.drawn = 0
	}
}

func (s *screen) draw() {
	lines := s.block
	if len(s.partial) > 0 {
		lines = append([]string{string(s.partial)}, lines...)
	}
	width := s.width()
	for _, l := range lines {
		fmt.Fprintln(s.w, shorten(l, width-1))
	}
	s.drawn = len(lines)
}

func (s *screen) show(block []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.block = block
	s.draw()
}

// close removes the progress and writes what was left unfinished.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		return
	}
	s.erase()
	s.block = nil
	if len(s.partial) > 0 {
		fmt.Fprintln(s.w, string(s.partial))
		s.partial = nil
	}
}

// watch draws the progress of all running jobs until the function that it
// returns is called, which removes it.
func (s *screen) watch(jobs server.Jobs) func() {
	if !s.live {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(redrawInterval)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				s.show(nil)
				return
			case <-tick.C:
				s.show(progressLines(jobs, time.Now()))
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// progressLines describes the jobs that run: the stages that do something come
// before those that wait.
func progressLines(jobs server.Jobs, now time.Time) []string {
	var out []string
	for _, j := range jobs.Jobs() {
		if st, _ := j.State(); server.Terminal(st) || st == jobpb.JobState_STOPPED {
			continue
		}
		v := api.Describe(j)
		out = append(out, fmt.Sprintf("%s  %s  %s", v.Name, v.Shown(), v.Elapsed(now)))
		out = append(out, stageLines(v.Stages)...)
	}
	return out
}

func stageLines(stages []api.Stage) []string {
	var busy, waiting []string
	done := 0
	for _, s := range stages {
		switch {
		case s.State == "done":
			done++
		case s.InFlight > 0 || s.Input > 0 || s.Output > 0:
			busy = append(busy, stageLine(s))
		default:
			waiting = append(waiting, stageLine(s))
		}
	}
	lines := append(busy, waiting...)
	if rest := len(lines) - maxStageLines; rest > 0 {
		lines = append(lines[:maxStageLines:maxStageLines], fmt.Sprintf("  … and %d more", rest))
	}
	if done > 0 {
		lines = append(lines, fmt.Sprintf("  %d of %d stages done", done, len(stages)))
	}
	return lines
}

func stageLine(s api.Stage) string {
	gauge := strings.Repeat(" ", barWidth+2)
	if s.Bounded {
		full := int(s.Done * barWidth)
		gauge = "[" + strings.Repeat("#", full) + strings.Repeat("-", barWidth-full) + "]"
	}
	return fmt.Sprintf("  %s %10d in %10d out  %s", gauge, s.Input, s.Output, s.Name)
}
