package job_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/storage/keyspace"
	"github.com/pharos-beam/pharos/internal/storage/spool"
	"github.com/pharos-beam/pharos/internal/storage/store"
)

// durableRig is a rig whose manager can be started again over what the one
// before has left.
type durableRig struct {
	*rig
	dir string
	kv  store.Store
	sp  *spool.Spool
	fs  vfs.FS // nil is the machine's
	// clientTimeout is how long jobs wait for their worker services.
	clientTimeout time.Duration
	keepFor       time.Duration
	snapshots     string // their folder
	shards        int    // of keyed stages; 0 is the default
}

func newDurableRig(t *testing.T) *durableRig {
	r := &durableRig{rig: newServices(t), dir: t.TempDir(), kv: store.NewMem(), snapshots: t.TempDir()}
	r.open()
	t.Cleanup(func() {
		r.close()
		r.sp.Close()
	})
	return r
}

func (r *durableRig) open() {
	r.t.Helper()
	var err error
	if r.sp, err = spool.Open(spool.Options{Dir: r.dir, MemoryBudget: 1 << 20, Keep: true, FS: r.fs}); err != nil {
		r.t.Fatal(err)
	}
	o := r.options(r.sp, r.kv)
	o.Durable, o.ClientTimeout, o.KeepFor, o.Snapshots = true, r.clientTimeout, r.keepFor, r.snapshots
	o.Core.Shards = r.shards
	r.m = job.NewManager(o)
	if err := r.m.Recover(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *durableRig) restart() {
	r.t.Helper()
	r.close()
	r.sp.Close()
	r.open()
}

// end waits for the end of a job.
func (r *durableRig) end(id string) (jobpb.JobState_Enum, string) {
	r.t.Helper()
	j, ok := r.m.Job(id)
	if !ok {
		r.t.Fatalf("job %s is not there any more", id)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), jobTimeout)
	defer cancel()
	text := ""
	for e := range j.Events(ctx) {
		text += e.Message.GetMessageText()
	}
	if ctx.Err() != nil {
		r.t.Fatal("the job does not end")
	}
	st, _ := j.State()
	return st, text
}

func (r *durableRig) submit(s *sdk) string {
	r.t.Helper()
	r.pool.mu.Lock()
	r.pool.config = fakesdk.Config{Process: s.process, Other: s.other}
	r.pool.mu.Unlock()
	j, err := r.m.Prepare(r.t.Context(), &jobpb.PrepareJobRequest{JobName: "test", Pipeline: r.pipeline()})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.m.Run(r.t.Context(), j.ID()); err != nil {
		r.t.Fatal(err)
	}
	return j.ID()
}

// A job goes on after each restart of the runner: what is committed is not done
// again, what is not is done once.
func TestJobOutlivesTheRunner(t *testing.T) {
	r := newDurableRig(t)
	const restarts, elements = 3, 10
	var mu sync.Mutex
	made, used := 0, 0
	stop := make(chan struct{}, restarts)
	s := &sdk{elements: elements}
	s.use = func(b *fakesdk.Bundle) error {
		mu.Lock()
		used++
		n := used
		mu.Unlock()
		if n <= restarts {
			stop <- struct{}{}
			return fakesdk.Hang(b)
		}
		return fakesdk.Echo(b)
	}
	s.make = func() {
		mu.Lock()
		defer mu.Unlock()
		made++
	}
	id := r.submit(s)
	for range restarts {
		<-stop
		r.restart()
	}
	st, text := r.end(id)
	if st != jobpb.JobState_DONE {
		t.Fatalf("the job is %v: %s", st, text)
	}
	var want []string
	for n := range elements {
		want = append(want, fmt.Sprintf("e%02d", n))
	}
	slices.Sort(s.got)
	if !slices.Equal(s.got, want) || made != 1 {
		t.Errorf("collected %v, and make ran %d times", s.got, made)
	}
	if n := strings.Count(text, "started again"); n != restarts {
		t.Errorf("the history tells of %d restarts: %s", n, text)
	}
	r.restart()
	if st, again := r.end(id); st != jobpb.JobState_DONE || again != text {
		t.Errorf("after another restart the job is %v with history %q, was %q", st, again, text)
	}
	if st := r.sp.Stats(); st.Blocks != 0 {
		t.Errorf("%d blocks are left", st.Blocks)
	}
}

// A job that has failed is there after a restart, and does not start again.
func TestFailedJobStaysFailed(t *testing.T) {
	r := newDurableRig(t)
	id := r.submit(&sdk{elements: 1, use: func(b *fakesdk.Bundle) error { return errors.New("boom") }})
	if st, text := r.end(id); st != jobpb.JobState_FAILED || !strings.Contains(text, "boom") {
		t.Fatalf("%v: %s", st, text)
	}
	r.restart()
	if st, text := r.end(id); st != jobpb.JobState_FAILED || !strings.Contains(text, "boom") {
		t.Errorf("after the restart: %v: %s", st, text)
	}
}

// The program that served a job's workers may be gone after the restart.
func TestWorkerServiceIsGone(t *testing.T) {
	r := newDurableRig(t)
	hung := make(chan struct{}, 1)
	id := r.submit(&sdk{elements: 1, use: func(b *fakesdk.Bundle) error {
		hung <- struct{}{}
		return fakesdk.Hang(b)
	}})
	<-hung
	r.close()
	r.sp.Close()
	r.pool.stop()
	r.clientTimeout = time.Millisecond
	r.open()
	if st, text := r.end(id); st != jobpb.JobState_FAILED || !strings.Contains(text, "has not come back") {
		t.Errorf("%v: %s", st, text)
	}
}

// What a job has counted is there after it has ended and the runner is started
// again.
func TestMetricsOfEndedJobOutliveTheRunner(t *testing.T) {
	r := newDurableRig(t)
	id := r.submit(&sdk{elements: 3, use: func(b *fakesdk.Bundle) error {
		b.Response.MonitoringInfos = append(b.Response.MonitoringInfos, &pipepb.MonitoringInfo{
			Urn: "beam:metric:user:sum_int64:v1", Type: "beam:metrics:sum_int64:v1", Payload: []byte{7},
			Labels: map[string]string{"NAMESPACE": "test", "NAME": "sevens"},
		})
		return fakesdk.Echo(b)
	}})
	if st, text := r.end(id); st != jobpb.JobState_DONE {
		t.Fatalf("the job is %v: %s", st, text)
	}
	for range 2 {
		r.restart()
		j, ok := r.m.Job(id)
		if !ok {
			t.Fatal("the job is not there any more")
		}
		_, committed := j.Metrics()
		if len(committed) != 1 || committed[0].GetLabels()["NAME"] != "sevens" {
			t.Errorf("the metrics after a restart are %v", committed)
		}
	}
}

// A runner that dies between the end of a job and the removal of its data
// removes them when it is started again.
func TestDataOfEndedJobAreRemoved(t *testing.T) {
	r := newDurableRig(t)
	id := r.submit(&sdk{elements: 1})
	if st, text := r.end(id); st != jobpb.JobState_DONE {
		t.Fatalf("the job is %v: %s", st, text)
	}
	r.close()
	row := append(keyspace.Job(id), "left behind"...)
	if err := r.kv.Apply([]keyspace.Op{{Kind: keyspace.Set, Key: row, Value: []byte("x")}}, true); err != nil {
		t.Fatal(err)
	}
	r.sp.Close()
	r.open()
	snapshot := r.kv.Snapshot()
	defer snapshot.Close()
	if _, there, err := snapshot.Get(row); there || err != nil {
		t.Errorf("the row is there (%v), error %v", there, err)
	}
	if st, _ := r.end(id); st != jobpb.JobState_DONE {
		t.Errorf("after the restart the job is %v", st)
	}
}

// fullDisk is a rig whose spool finds no room while full is set.
func fullDisk(t *testing.T) (r *durableRig, full *atomic.Bool) {
	full = &atomic.Bool{}
	r = newDurableRig(t)
	r.close()
	r.sp.Close()
	r.fs = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFileWriteAt {
			return syscall.ENOSPC
		}
		return nil
	}))
	r.open()
	full.Store(true)
	return r, full
}

// suspended waits until the job says that it is, for want of space.
func (r *durableRig) suspended(id string) {
	r.t.Helper()
	r.says(id, "the job is suspended: make room on the disk")
	r.rests(id, "make room on the disk")
}

// rests checks what the job says of why it does nothing; "" if it goes on, or has
// ended.
func (r *durableRig) rests(id, why string) {
	r.t.Helper()
	j, _ := r.m.Job(id)
	if got := j.Suspended(); (got == "") != (why == "") || !strings.HasPrefix(got, why) {
		r.t.Errorf("the job is suspended for %q, want %q", got, why)
	}
}

// says waits until the job says something.
func (r *durableRig) says(id, text string) {
	r.t.Helper()
	j, _ := r.m.Job(id)
	ctx, cancel := context.WithTimeout(r.t.Context(), jobTimeout)
	defer cancel()
	var said []string
	for e := range j.Events(ctx) {
		said = append(said, e.Message.GetMessageText())
		if strings.Contains(e.Message.GetMessageText(), text) {
			return
		}
	}
	st, _ := j.State()
	r.t.Fatalf("the job is %v and does not say %q, but %q", st, text, said)
}

// A job that finds no room on the disk waits for more, and for the runner to be
// started again.
func TestFullDiskSuspendsJob(t *testing.T) {
	r, full := fullDisk(t)
	s := &sdk{elements: 10}
	id := r.submit(s)
	r.suspended(id)
	full.Store(false)
	r.restart()
	if st, text := r.end(id); st != jobpb.JobState_DONE {
		t.Fatalf("the job is %v: %s", st, text)
	}
	r.rests(id, "")
	if len(s.got) != 10 {
		t.Errorf("collected %v", s.got)
	}
}

// Nor does a job fail whose bundle, in all its attempts, finds no room for a block
// that the memory does not hold.
func TestFullDiskDuringBundleSuspendsJob(t *testing.T) {
	r, full := fullDisk(t)
	full.Store(false)
	var once sync.Once
	fill := func() { once.Do(func() { full.Store(true) }) } // what was there before is committed
	s := &sdk{elements: 100_000, make: fill}                // twice what the spool keeps in memory
	id := r.submit(s)
	r.says(id, "attempt 2 of")
	r.suspended(id)
	full.Store(false)
	r.restart()
	if st, text := r.end(id); st != jobpb.JobState_DONE {
		t.Fatalf("the job is %v: %s", st, text)
	}
	if len(s.got) != s.elements {
		t.Errorf("collected %d elements of %d", len(s.got), s.elements)
	}
}

// A suspended job can be cancelled, and stays so.
func TestSuspendedJobIsCancelled(t *testing.T) {
	r, full := fullDisk(t)
	id := r.submit(&sdk{elements: 1})
	r.suspended(id)
	j, _ := r.m.Job(id)
	j.Cancel()
	if st, text := r.end(id); st != jobpb.JobState_CANCELLED {
		t.Errorf("the job is %v: %s", st, text)
	}
	full.Store(false)
	r.restart()
	if st, text := r.end(id); st != jobpb.JobState_CANCELLED {
		t.Errorf("after a restart the job is %v: %s", st, text)
	}
	if st := r.sp.Stats(); st.Blocks != 0 {
		t.Errorf("%d blocks are left", st.Blocks)
	}
}

// Jobs that have ended are forgotten in time, after a restart as well, and one
// that goes on is not.
func TestEndedJobsAreForgotten(t *testing.T) {
	r := newDurableRig(t)
	hung := make(chan struct{}, 1)
	going := r.submit(&sdk{elements: 1, use: func(b *fakesdk.Bundle) error {
		hung <- struct{}{}
		return fakesdk.Hang(b)
	}})
	<-hung
	ended := r.submit(&sdk{elements: 1})
	if st, text := r.end(ended); st != jobpb.JobState_DONE {
		t.Fatalf("%v: %s", st, text)
	}
	r.pool.mu.Lock()
	r.pool.config = fakesdk.Config{Process: fakesdk.Hang} // before the restart: the job that goes on must not end
	r.pool.mu.Unlock()
	r.keepFor = time.Millisecond
	r.restart()
	for deadline := time.Now().Add(jobTimeout); ; {
		if _, there := r.m.Job(ended); !there {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the job that has ended is still there")
		}
		time.Sleep(time.Millisecond)
	}
	if _, there := r.m.Job(going); !there {
		t.Error("the job that goes on is not there")
	}
	r.restart()
	if _, there := r.m.Job(ended); there {
		t.Error("the job that was forgotten is there again")
	}
}

// A job that another version of the runner would plan differently waits for the
// version that it had. A snapshot can be taken of it, for a new job.
func TestJobOfAnotherPlanIsSuspended(t *testing.T) {
	r := newDurableRig(t)
	hung := make(chan struct{})
	var once sync.Once
	first := &sdk{elements: 10}
	first.use = func(b *fakesdk.Bundle) error {
		do := fakesdk.Echo
		once.Do(func() {
			close(hung)
			do = fakesdk.Hang
		})
		return do(b)
	}
	id := r.submit(first)
	<-hung
	r.shards = 4
	r.restart()
	r.says(id, "the job is suspended: this version of the runner plans the pipeline differently")
	if _, err := r.m.TakeSnapshot(t.Context(), id, "s", job.Stop); !errors.Is(err, job.ErrState) {
		t.Errorf("a job that is suspended is stopped: %v", err)
	}
	if _, err := r.m.TakeSnapshot(t.Context(), id, "s", job.Continue); err != nil {
		t.Fatal(err)
	}
	next := &sdk{}
	other, err := r.from(r.changed("use"), next, map[string]any{"from_snapshot": "s"})
	if err != nil {
		t.Fatal(err)
	}
	if st, text := r.end(other); st != jobpb.JobState_DONE || len(next.got) != 10 {
		t.Errorf("the new job is %v: %s; collected %v", st, text, next.got)
	}
	r.shards = 0
	r.pool.mu.Lock()
	r.pool.config = fakesdk.Config{Process: first.process}
	r.pool.mu.Unlock()
	r.restart()
	if st, text := r.end(id); st != jobpb.JobState_DONE || len(first.got) != 10 {
		t.Errorf("with the version of before the job is %v: %s; collected %v", st, text, first.got)
	}
}

// One that is suspended so can be cancelled.
func TestJobOfAnotherPlanIsCancelled(t *testing.T) {
	r, id := suspendedRig(t)
	r.shards = 4
	r.open()
	r.says(id, "the job is suspended: this version of the runner")
	r.rests(id, "this version of the runner plans the pipeline differently")
	j, _ := r.m.Job(id)
	j.Cancel()
	for range 2 {
		if st, text := r.end(id); st != jobpb.JobState_CANCELLED {
			t.Errorf("the job is %v: %s", st, text)
		}
		r.rests(id, "")
		r.restart()
	}
	if st := r.sp.Stats(); st.Blocks != 0 {
		t.Errorf("%d blocks are left", st.Blocks)
	}
}

// A bundle that fails again and again is told of before the last attempt.
func TestFailingAttemptsAreToldOf(t *testing.T) {
	r := newDurableRig(t)
	id := r.submit(&sdk{elements: 1, use: func(b *fakesdk.Bundle) error { return errors.New("no luck") }})
	st, text := r.end(id)
	if st != jobpb.JobState_FAILED || !strings.Contains(text, "attempt 2 of 4 of a bundle of use has failed: no luck") {
		t.Errorf("the job is %v: %s", st, text)
	}
}

// Workers that cannot be started fail the job, however often its bundles may be
// tried, and each start that fails is told of.
func TestWorkersThatDoNotStart(t *testing.T) {
	r := newServices(t)
	sp, err := spool.Open(spool.Options{Dir: t.TempDir(), MemoryBudget: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	o := r.options(sp, store.NewMem())
	o.MaxAttempts, o.Overrides = 1000, map[string]string{"external": "process:false"}
	r.m = job.NewManager(o)
	defer r.close()
	told := 0
	st, text := r.run(&sdk{elements: 1}, func(j *job.Job) {
		for e := range j.Events(t.Context()) {
			if strings.Contains(e.Message.GetMessageText(), "a worker did not start: environment") {
				told++
			}
		}
	})
	if st != jobpb.JobState_FAILED || !strings.Contains(text, "gave up after") || told < 2 {
		t.Errorf("the job is %v, and was told %d times: %s", st, told, text)
	}
}
