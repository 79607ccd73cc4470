package job_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
)

// changed is the pipeline of the rig as somebody has worked on it: with other
// ids, and a transform more.
func (r *rig) changed(renamed string) *pipepb.Pipeline {
	p := plantest.New()
	p.ParDo("new", "a", p.Impulse("another impulse"), "bytes")
	made := p.ParDo("make", "a", p.Impulse("impulse"), "bytes")
	used := p.ParDo(renamed, "b", made, "bytes")
	p.ParDo("collect", "a", p.Runner("reshuffle", urn.Reshuffle, "bytes", used), "bytes")
	r.attach(p.Pipeline)
	return p.Pipeline
}

// from submits a pipeline that begins from a snapshot.
func (r *durableRig) from(p *pipepb.Pipeline, s *sdk, options map[string]any) (string, error) {
	r.t.Helper()
	r.pool.mu.Lock()
	r.pool.config = fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
		if b.Descriptor.GetTransforms()["new"] != nil {
			_, err := readAll(b)
			return err
		}
		return s.process(b)
	}}
	r.pool.mu.Unlock()
	fields := map[string]any{}
	for name, v := range options {
		fields["beam:option:"+name+":v1"] = v
	}
	o, err := structpb.NewStruct(fields)
	if err != nil {
		r.t.Fatal(err)
	}
	j, err := r.m.Prepare(r.t.Context(), &jobpb.PrepareJobRequest{JobName: "next", Pipeline: p, PipelineOptions: o})
	if err != nil {
		return "", err
	}
	if _, err := r.m.Run(r.t.Context(), j.ID()); err != nil {
		r.t.Fatal(err)
	}
	return j.ID(), nil
}

// stopped is a rig with a snapshot "s" of a job that has made elements, and that
// was stopped when it was about to use them.
func stopped(t *testing.T, elements int) *durableRig {
	t.Helper()
	r := newDurableRig(t)
	hung := make(chan struct{}, 1)
	id := r.submit(&sdk{elements: elements, use: func(b *fakesdk.Bundle) error {
		hung <- struct{}{}
		return fakesdk.Hang(b)
	}})
	<-hung
	if _, err := r.m.TakeSnapshot(t.Context(), id, "s", job.Stop); err != nil {
		t.Fatal(err)
	}
	if st, text := r.end(id); st != jobpb.JobState_UPDATED {
		t.Fatalf("the job is %v: %s", st, text)
	}
	return r
}

func elementsUpTo(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("e%02d", i))
	}
	return all
}

// A changed pipeline goes on where the job before it was stopped.
func TestJobBeginsFromSnapshot(t *testing.T) {
	r := stopped(t, 10)
	if st := r.sp.Stats(); st.Blocks != 0 {
		t.Errorf("the job that was stopped leaves %d blocks", st.Blocks)
	}
	r.restart()
	made := 0
	s := &sdk{make: func() { made++ }}
	id, err := r.from(r.changed("use"), s, map[string]any{"from_snapshot": "s"})
	if err != nil {
		t.Fatal(err)
	}
	if st, text := r.end(id); st != jobpb.JobState_DONE || !strings.Contains(text, "goes on from snapshot s of job test") {
		t.Fatalf("the job is %v: %s", st, text)
	}
	slices.Sort(s.got)
	if !slices.Equal(s.got, elementsUpTo(10)) || made != 0 {
		t.Errorf("collected %v, and make ran %d times", s.got, made)
	}
}

// What has no place in the new pipeline is an error that lists it, unless it may
// be left behind, or has only another name.
func TestSnapshotThatDoesNotFit(t *testing.T) {
	r := stopped(t, 10)
	_, err := r.from(r.changed("use it"), &sdk{}, map[string]any{"from_snapshot": "s"})
	var rejected *pipeline.Rejection
	if !errors.As(err, &rejected) || !strings.Contains(err.Error(), `10 elements`) || !strings.Contains(err.Error(), `"use"`) {
		t.Errorf("the error is %v", err)
	}
	s := &sdk{}
	id, err := r.from(r.changed("use it"), s, map[string]any{"from_snapshot": "s", "allow_non_restored": true})
	if err != nil {
		t.Fatal(err)
	}
	if st, text := r.end(id); st != jobpb.JobState_DONE || !strings.Contains(text, "left behind: 10 elements") || len(s.got) != 0 {
		t.Errorf("the job is %v and has collected %v: %s", st, s.got, text)
	}
	id, err = r.from(r.changed("use it"), s, map[string]any{"from_snapshot": "s", "map_transforms": `{"use": "use it"}`})
	if err != nil {
		t.Fatal(err)
	}
	if st, text := r.end(id); st != jobpb.JobState_DONE || len(s.got) != 10 {
		t.Errorf("the job is %v and has collected %v: %s", st, s.got, text)
	}
	if st := r.sp.Stats(); st.Blocks != 0 {
		t.Errorf("%d blocks are left", st.Blocks)
	}
}

// A snapshot does not disturb the job that it is taken of.
func TestSnapshotWhileTheJobRuns(t *testing.T) {
	r := newDurableRig(t)
	hung, free := make(chan struct{}, 1), make(chan struct{})
	var once sync.Once
	s := &sdk{elements: 10}
	s.use = func(b *fakesdk.Bundle) error {
		once.Do(func() {
			hung <- struct{}{}
			<-free
		})
		return fakesdk.Echo(b)
	}
	id := r.submit(s)
	<-hung
	snap, err := r.m.TakeSnapshot(t.Context(), id, "", job.Continue)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(snap.Name, "test-") || snap.Job != id {
		t.Errorf("the snapshot is %+v", snap)
	}
	if all, err := r.m.Snapshots(); err != nil || len(all) != 1 || all[0].Name != snap.Name {
		t.Errorf("snapshots %v, %v", all, err)
	}
	close(free)
	if st, text := r.end(id); st != jobpb.JobState_DONE || len(s.got) != 10 {
		t.Errorf("the job is %v: %s; collected %v", st, text, s.got)
	}
	next := &sdk{}
	if id, err = r.from(r.changed("use"), next, map[string]any{"from_snapshot": snap.Name}); err != nil {
		t.Fatal(err)
	}
	if st, text := r.end(id); st != jobpb.JobState_DONE || len(next.got) != 10 {
		t.Errorf("the next job is %v: %s; collected %v", st, text, next.got)
	}
	if st := r.sp.Stats(); st.Blocks != 0 {
		t.Errorf("%d blocks are left", st.Blocks)
	}
	if err := r.m.DropSnapshot(snap.Name); err != nil {
		t.Error(err)
	}
	if err := r.m.DropSnapshot(snap.Name); !errors.Is(err, job.ErrSnapshot) {
		t.Errorf("it can be dropped twice: %v", err)
	}
}

// A snapshot of a name that is there fails, and the job goes on, also if it was
// to stop.
func TestSnapshotThatFails(t *testing.T) {
	r := newDurableRig(t)
	hung, free := make(chan struct{}, 2), make(chan struct{})
	id := r.submit(&sdk{elements: 1, use: func(b *fakesdk.Bundle) error {
		hung <- struct{}{}
		<-free
		return fakesdk.Echo(b)
	}})
	<-hung
	for i, after := range []job.After{job.Continue, job.Stop} {
		_, err := r.m.TakeSnapshot(t.Context(), id, "same", after)
		if i == 0 && err != nil || i == 1 && !errors.Is(err, fs.ErrExist) {
			t.Errorf("snapshot %d: %v", i, err)
		}
	}
	close(free)
	if st, text := r.end(id); st != jobpb.JobState_DONE {
		t.Errorf("the job is %v: %s", st, text)
	}
	if _, err := r.m.TakeSnapshot(t.Context(), id, "late", job.Continue); !errors.Is(err, job.ErrState) {
		t.Errorf("of a job that has ended: %v", err)
	}
	if _, err := r.m.TakeSnapshot(t.Context(), id, "../out", job.Continue); !errors.Is(err, job.ErrSnapshot) {
		t.Errorf("outside of the folder: %v", err)
	}
}

// A job without data on disk has no snapshots, but may begin from one: the first
// one that is run.
func TestJobInMemoryBeginsFromSnapshot(t *testing.T) {
	r := stopped(t, 10)
	r.close()
	o := r.options(r.sp, r.kv)
	o.Origin = &job.Origin{Path: r.snapshots + "/s.snapshot"}
	r.m = job.NewManager(o)
	s := &sdk{}
	id, err := r.from(r.changed("use"), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if st, text := r.end(id); st != jobpb.JobState_DONE || len(s.got) != 10 {
		t.Errorf("the job is %v: %s; collected %v", st, text, s.got)
	}
	if _, err := r.m.TakeSnapshot(context.Background(), id, "x", job.Continue); !errors.Is(err, job.ErrState) {
		t.Errorf("a snapshot of a job without data: %v", err)
	}
	again := &sdk{elements: 3}
	if id, err = r.from(r.pipeline(), again, nil); err != nil {
		t.Fatal(err)
	}
	if st, text := r.end(id); st != jobpb.JobState_DONE || len(again.got) != 3 {
		t.Errorf("the second job is %v: %s; collected %v", st, text, again.got)
	}
}

// The values of a large group stay with the runner, and an element has only
// their names. It finds them in the next job, and in one that begins from that.
func TestLargeGroupInSnapshot(t *testing.T) {
	r := newDurableRig(t)
	values := [][]byte{make([]byte, 100_000), make([]byte, 200_000)}
	build := func() *pipepb.Pipeline {
		p := plantest.New()
		for _, env := range p.Components.Environments {
			env.Capabilities = append(env.Capabilities, urn.CoderStateBackedIterable)
		}
		groups := p.Runner("group", urn.GroupByKey, "gkv", p.ParDo("make", "a", p.Impulse("impulse"), "kv"))
		p.ParDo("read", "a", groups, "bytes")
		r.attach(p.Pipeline)
		return p.Pipeline
	}
	hung := make(chan struct{}, 1)
	hang := func(b *fakesdk.Bundle, _ []byte) error {
		hung <- struct{}{}
		return fakesdk.Hang(b)
	}
	var got int
	read := func(b *fakesdk.Bundle, token []byte) (err error) {
		got, err = readPages(b, token)
		return err
	}
	process := func(with func(*fakesdk.Bundle, []byte) error) func(*fakesdk.Bundle) error {
		return func(b *fakesdk.Bundle) error {
			item, err := b.Next()
			if err != nil {
				return err
			}
			if b.Descriptor.GetTransforms()["make"] != nil {
				for _, v := range values {
					e := append(coder.AppendHeader(nil, timestamp.Min, nil, 1, coder.NoFiring), 1, 'k')
					if err := b.Emit(b.Sinks[0], append(coder.AppendVarint(e, uint64(len(v))), v...)); err != nil {
						return err
					}
				}
			} else if err := with(b, item.Data[len(item.Data)-int(tokenLength(item.Data)):]); err != nil {
				return err
			}
			_, err = b.Next()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
	}
	submit := func(with func(*fakesdk.Bundle, []byte) error, snapshot string) string {
		r.pool.mu.Lock()
		r.pool.config = fakesdk.Config{Process: process(with)}
		r.pool.mu.Unlock()
		o, _ := structpb.NewStruct(map[string]any{"beam:option:from_snapshot:v1": snapshot})
		j, err := r.m.Prepare(t.Context(), &jobpb.PrepareJobRequest{JobName: "test", Pipeline: build(), PipelineOptions: o})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.m.Run(t.Context(), j.ID()); err != nil {
			t.Fatal(err)
		}
		return j.ID()
	}
	for i, from := range []string{"", "s0"} {
		id := submit(hang, from)
		<-hung
		if _, err := r.m.TakeSnapshot(t.Context(), id, fmt.Sprintf("s%d", i), job.Stop); err != nil {
			t.Fatal(err)
		}
	}
	if st, text := r.end(submit(read, "s1")); st != jobpb.JobState_DONE {
		t.Fatalf("the job is %v: %s", st, text)
	}
	if want := 300_000 + 2*3; got != want { // with their lengths
		t.Errorf("read %d bytes, want %d", got, want)
	}
	if st := r.sp.Stats(); st.Blocks != 0 {
		t.Errorf("%d blocks are left", st.Blocks)
	}
}

// tokenLength is the length of the token that an element ends with: it comes
// after the key, the length that says "not known" and a count that says "a token
// follows".
func tokenLength(element []byte) byte {
	at := bytes.Index(element, append([]byte{0xff, 0xff, 0xff, 0xff}, coder.AppendVarint(nil, 0xffffffffffffffff)...))
	return element[at+4+10]
}
