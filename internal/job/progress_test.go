package job_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// until waits for a condition of a job that runs.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(jobTimeout); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("waited in vain for %s", what)
			return
		}
	}
}

// Who holds a watermark is said down to the timer, or the key, also by stages
// after it.
func TestHoldsAreExplained(t *testing.T) {
	for name, c := range map[string]struct {
		build func(s *scene, in string) string
		want  string
	}{
		"timer": {func(s *scene, in string) string {
			s.do["timers"] = func(b *fakesdk.Bundle) error {
				return s.each(b, "kv", "gw", func(coder.Element) error {
					timer := coder.TimerElement{Key: lp("k"), NumWindows: 1, Fire: 9000, Hold: 7000}
					return b.EmitTimers("timers", "alarm", timer.Append(nil))
				}, func(coder.TimerElement) error { return nil })
			}
			return s.ParDoLike("timers", "b", in, "kv", &pipepb.ParDoPayload{TimerFamilySpecs: map[string]*pipepb.TimerFamilySpec{
				"alarm": {TimeDomain: pipepb.TimeDomain_EVENT_TIME, TimerFamilyCoderId: "bytes"},
			}})
		}, `timers, whose watermark is at 1970-01-01T00:00:07Z: held at 1970-01-01T00:00:07Z by state or timers in shard *: timer "alarm" of timers for key "k", set for 1970-01-01T00:00:09Z`},
		"pane": {func(s *scene, in string) string {
			s.Components.Pcollections[in].WindowingStrategyId = "sessions"
			s.Components.WindowingStrategies["sessions"].OutputTime = pipepb.OutputTime_EARLIEST_IN_PANE
			s.do["key"] = s.keyed(true)
			return s.Runner("gbk", urn.GroupByKey, "gkv", in)
		}, `gbk, whose watermark is at 1970-01-01T00:00:00Z: held at 1970-01-01T00:00:00Z by state or timers in shard *: a pane to come of key "k"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			seen := make(chan struct{})
			service := &eventService{events: func(stream grpc.ServerStream) error {
				if err := sends(nil, at(0, "x"), mark(8000))(stream); err != nil {
					return err
				}
				<-seen
				return nil
			}}
			in := s.ParDo("key", "a", s.stream("stream", service.serve(t)), "kv")
			s.do["key"] = s.keyed(false)
			s.ParDo("last", "a", c.build(s, in), "bytes")
			s.do["last"] = fakesdk.Echo
			var why string
			st, msg := newRig(t).runs(s.Pipeline.Pipeline, fakesdk.Config{Process: s.process}, func(j *job.Job) {
				defer close(seen)
				until(t, c.want, func() bool {
					i := slices.IndexFunc(j.Progress(), func(p job.StageProgress) bool { return p.Name == "last" })
					if i >= 0 {
						why = j.Progress()[i].Waiting
					}
					return matches(why, c.want)
				})
			})
			if st != jobpb.JobState_DONE {
				t.Errorf("%v: %s", st, msg)
			}
			if !matches(why, c.want) {
				t.Errorf("explained by\n\t%s\nwant\n\t%s", why, c.want)
			}
		})
	}
}

// matches says whether the text has the parts of a pattern between stars, in
// order.
func matches(text, pattern string) bool {
	for part := range strings.SplitSeq(pattern, "*") {
		_, rest, ok := strings.Cut(text, part)
		if !ok {
			return false
		}
		text = rest
	}
	return true
}

// counter is a user counter of transform "use".
func counter(n int64) *pipepb.MonitoringInfo {
	return &pipepb.MonitoringInfo{
		Urn: urn.MetricUserSumInt64, Type: urn.TypeSumInt64, Payload: binary.AppendUvarint(nil, uint64(n)),
		Labels: map[string]string{urn.LabelPTransform: "use", urn.LabelNamespace: "n", urn.LabelName: "c"},
	}
}

// counted is the value of the counter.
func counted(infos []*pipepb.MonitoringInfo) int64 {
	for _, mi := range infos {
		if mi.GetUrn() == urn.MetricUserSumInt64 {
			n, _ := binary.Uvarint(mi.GetPayload())
			return int64(n)
		}
	}
	return 0
}

// What a bundle reports while it runs is attempted, and committed when its
// record is; of an attempt that failed the attempted part remains. What it reports
// of its channels is nobody's.
func TestAttemptedAndCommittedMetrics(t *testing.T) {
	var tries atomic.Int32
	var mu sync.Mutex
	proceed := make(chan struct{})
	s := &sdk{elements: 1}
	s.use = func(b *fakesdk.Bundle) error {
		n := tries.Add(1)
		mu.Lock()
		wait := proceed
		mu.Unlock()
		<-wait
		if n == 1 {
			return errors.New("not this time")
		}
		b.Response.MonitoringInfos = []*pipepb.MonitoringInfo{counter(7)}
		for _, port := range append(b.Sinks, b.Sources...) {
			b.Response.MonitoringInfos = append(b.Response.MonitoringInfos, &pipepb.MonitoringInfo{
				Urn: urn.MetricTotalMsecs, Type: urn.TypeSumInt64, Payload: []byte{1}, Labels: map[string]string{urn.LabelPTransform: port},
			})
		}
		return fakesdk.Echo(b)
	}
	s.other = func(req *fnpb.InstructionRequest) *fnpb.InstructionResponse {
		if req.GetProcessBundleProgress() == nil {
			return nil
		}
		return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_ProcessBundleProgress{
			ProcessBundleProgress: &fnpb.ProcessBundleProgressResponse{MonitoringInfos: []*pipepb.MonitoringInfo{counter(5)}}}}
	}
	var j *job.Job
	st, msg := newRig(t).run(s, func(running *job.Job) {
		j = running
		want := func(attempted, committed int64) func() bool {
			return func() bool {
				a, c := j.Metrics()
				return counted(a) == attempted && counted(c) == committed
			}
		}
		until(t, "the progress of the first attempt", want(5, 0))
		mu.Lock()
		first := proceed
		proceed = make(chan struct{})
		mu.Unlock()
		close(first)
		until(t, "the progress of the second attempt", want(10, 0))
		close(proceed)
	})
	if st != jobpb.JobState_DONE {
		t.Fatalf("%v: %s", st, msg)
	}
	if a, c := j.Metrics(); counted(a) != 12 || counted(c) != 7 {
		t.Errorf("attempted %d, want 12; committed %d, want 7", counted(a), counted(c))
	} else if len(a) != 1 || len(c) != 1 {
		t.Errorf("attempted %v, committed %v: more than the pipeline's", a, c)
	}
}
