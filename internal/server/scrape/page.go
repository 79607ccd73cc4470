package scrape

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/server"
)

// Limits of the page.
const (
	// jobsMax is how many jobs are shown: those that run, then those that ended
	// last.
	jobsMax = 200
	// endedFor is how long a job is shown after its end, so that its last
	// numbers are seen.
	endedFor = 10 * time.Minute
	// seriesMax is how many series of Beam's metrics a job may have.
	seriesMax = 5000
	// labelMax is the length of a label's value, in bytes.
	labelMax = 200
	// scrapesMax is how many requests are answered at a time.
	scrapesMax = 2
)

// Options say what the page is about.
type Options struct {
	Jobs    server.Jobs
	Runner  func() server.RunnerStats // may be nil
	Version string
	Log     *slog.Logger
}

// Handler serves the page.
func Handler(o Options) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&page{o: o, now: time.Now},
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog: errorLog{o.Log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: scrapesMax,
	})
}

// errorLog takes what promhttp has to say.
type errorLog struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (l errorLog) Println(v ...any) { l.log.Warn("metrics page", "err", fmt.Sprint(v...)) }

// page is a prometheus.Collector.
type page struct {
	o   Options
	now func() time.Time
}

// Describe implements prometheus.Collector: with no descriptions, what Collect
// yields is checked when it does.
func (p *page) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p *page) Collect(ch chan<- prometheus.Metric) {
	send := sender(ch)
	send.gauge(buildInfo, 1, p.o.Version)
	if p.o.Runner != nil {
		send.runner(p.o.Runner())
	}
	all := p.o.Jobs.Jobs()
	send.states(all)
	shown := p.choose(all)
	omitted := 0
	for _, j := range shown {
		omitted += p.collectJob(send, j)
	}
	send.gauge(omittedJobs, float64(len(all)-len(shown)))
	send.gauge(omittedSeries, float64(omitted))
}

// choose returns the jobs that are shown: first those that go on, newest first,
// then those that ended a moment ago, last ended first.
func (p *page) choose(all []server.Job) []server.Job {
	type candidate struct {
		job   server.Job
		ended bool
		at    time.Time
	}
	var some []candidate
	for _, j := range all {
		state, since := j.State()
		switch {
		case !server.Terminal(state):
			some = append(some, candidate{j, false, j.Created()})
		case p.now().Sub(since) < endedFor:
			some = append(some, candidate{j, true, since})
		}
	}
	slices.SortStableFunc(some, func(a, b candidate) int {
		if a.ended != b.ended {
			if a.ended {
				return 1
			}
			return -1
		}
		return b.at.Compare(a.at)
	})
	var chosen []server.Job
	for _, c := range some[:min(len(some), jobsMax)] {
		chosen = append(chosen, c.job)
	}
	return chosen
}

// collectJob returns how many series of the job it has left out.
func (p *page) collectJob(send sender, j server.Job) (omitted int) {
	s := jobSender{send, label(j.ID()), label(j.Name())}
	state, _ := j.State()
	s.gauge(jobCreated, float64(j.Created().UnixMilli())/1000)
	s.gauge(jobState, 1, state.String())
	for _, stage := range j.Progress() {
		s.stage(stage, p.now())
	}
	stats := j.Stats()
	s.latencies(jobAttempts, stats.Attempts)
	s.latencies(jobCommits, stats.Commits)
	if !server.Terminal(state) {
		for _, env := range slices.Sorted(maps.Keys(stats.Workers)) {
			s.gauge(jobWorkers, float64(stats.Workers[env]), label(env))
		}
	}
	_, committed := j.Metrics()
	return s.beam(j.Pipeline().GetComponents(), committed)
}

// sender makes metrics of values.
type sender chan<- prometheus.Metric

func (s sender) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.value(d, prometheus.GaugeValue, v, labels...)
}

func (s sender) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.value(d, prometheus.CounterValue, v, labels...)
}

func (s sender) value(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, kind, v, labels...)
}

func (s sender) runner(r server.RunnerStats) {
	s.gauge(workers, float64(r.Workers))
	s.gauge(spoolRAM, float64(r.SpoolRAMBytes))
	s.gauge(spoolRAMLimit, float64(r.SpoolRAMLimitBytes))
	s.gauge(spoolDisk, float64(r.SpoolDiskBytes))
	s.gauge(spoolDead, float64(r.SpoolDeadBytes))
	s.gauge(spoolBlocks, float64(r.SpoolBlocks))
	s.gauge(spoolSegments, float64(r.SpoolSegments))
	s.gauge(logBytes, float64(r.LogBytes))
	s.counter(logLost, float64(r.LostLogLines))
	if r.StoreOnDisk {
		s.gauge(storeDisk, float64(r.StoreDiskBytes))
		s.counter(storeApplied, float64(r.StoreAppliedBytes))
		s.counter(storeWritten, float64(r.StoreWrittenBytes))
	}
}

// states counts jobs.
func (s sender) states(all []server.Job) {
	count := map[string]int{}
	for _, j := range all {
		state, _ := j.State()
		count[state.String()]++
	}
	for _, state := range slices.Sorted(maps.Keys(count)) {
		s.gauge(jobsByState, float64(count[state]), state)
	}
}

// jobSender puts a job's labels first.
type jobSender struct {
	to       sender
	id, name string
}

func (s jobSender) labels(more []string) []string { return append([]string{s.id, s.name}, more...) }

func (s jobSender) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.to.gauge(d, v, s.labels(labels)...)
}

func (s jobSender) stage(p server.StageProgress, now time.Time) {
	at := []string{strconv.Itoa(p.Stage), label(p.Name)}
	counter := func(d *prometheus.Desc, n int64) { s.to.counter(d, float64(n), s.labels(at)...) }
	counter(stageBundles, p.Bundles)
	counter(stageFailed, p.FailedAttempts)
	counter(stageIn, p.InputElements)
	counter(stageOut, p.OutputElements)
	s.gauge(stageInFlight, float64(p.InFlight), at...)
	s.gauge(stageBacklog, float64(p.PendingElements), at...)
	s.gauge(stageBacklogLen, float64(p.PendingBytes), at...)
	s.gauge(stageInputMark, seconds(p.InputWatermark), at...)
	s.gauge(stageMark, seconds(p.Watermark), at...)
	if mark := seconds(p.Watermark); !math.IsInf(mark, 0) {
		s.gauge(stageLag, float64(now.UnixMilli())/1000-mark, at...)
	}
}

// seconds is a watermark in Unix seconds; the ends of time, of which the end of
// the global window is one, are infinite.
func seconds(t timestamp.Time) float64 {
	switch {
	case t <= timestamp.Min:
		return math.Inf(-1)
	case t >= timestamp.EndOfGlobalWindow:
		return math.Inf(1)
	}
	return float64(t) / 1000
}

func (s jobSender) latencies(d *prometheus.Desc, l server.Latencies) {
	buckets := make(map[float64]uint64, len(l.Buckets))
	for bound, n := range l.Buckets {
		buckets[bound.Seconds()] = uint64(n)
	}
	s.to <- prometheus.MustNewConstHistogram(d, uint64(l.Count), l.Sum.Seconds(), buckets, s.labels(nil)...)
}

// label is a value that Prometheus takes: valid text that is not too long. The
// middle is cut out, since the ends of a name say more.
func label(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= labelMax {
		return s
	}
	const gap = "…"
	head, tail := (labelMax-len(gap))/2, len(s)-(labelMax-len(gap))/2
	for !utf8.RuneStart(s[head]) {
		head--
	}
	for !utf8.RuneStart(s[tail]) {
		tail++
	}
	return s[:head] + gap + s[tail:]
}

// named is what the pipeline's author calls a thing, or else its id.
func named(kind string, c *pipepb.Components, id string) string {
	var name string
	switch kind {
	case labelTransform:
		name = c.GetTransforms()[id].GetUniqueName()
	case labelPCollection:
		name = c.GetPcollections()[id].GetUniqueName()
	}
	if name == "" {
		return id
	}
	return name
}
