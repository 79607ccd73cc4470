package job_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"

	"github.com/pharos-beam/pharos/internal/harness/fakesdk"
	"github.com/pharos-beam/pharos/internal/job"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/plan/plantest"
)

// readPages returns how many bytes the values have that a token names.
func readPages(b *fakesdk.Bundle, token []byte) (n int, err error) {
	for next := []byte(nil); ; {
		resp, err := b.State(&fnpb.StateRequest{
			StateKey: &fnpb.StateKey{Type: &fnpb.StateKey_Runner_{Runner: &fnpb.StateKey_Runner{Key: token}}},
			Request:  &fnpb.StateRequest_Get{Get: &fnpb.StateGetRequest{ContinuationToken: next}},
		})
		if err != nil || resp.GetError() != "" {
			return 0, fmt.Errorf("read pages: %v %s", err, resp.GetError())
		}
		n += len(resp.GetGet().GetData())
		if next = resp.GetGet().GetContinuationToken(); len(next) == 0 {
			return n, nil
		}
	}
}

// emitValues puts out values of a size for one key.
func emitValues(b *fakesdk.Bundle, n, size int) error {
	for range n {
		e := append(coder.AppendHeader(nil, timestamp.Min, nil, 1, coder.NoFiring), 1, 'k')
		if err := b.Emit(b.Sinks[0], append(coder.AppendVarint(e, uint64(size)), make([]byte, size)...)); err != nil {
			return err
		}
	}
	return nil
}

// The pages of a large group are given back while the job goes on, and not those
// of another one that waits to be read.
func TestPagesAreGivenBack(t *testing.T) {
	defer job.SetSweepFrom(1)()
	for _, durable := range []bool{true, false} {
		t.Run(fmt.Sprintf("durable %v", durable), func(t *testing.T) { testPages(t, durable) })
	}
}

func testPages(t *testing.T, durable bool) {
	r := newDurableRig(t)
	if !durable {
		o := r.options(r.sp, r.kv)
		r.m = job.NewManager(o)
	}
	p := plantest.New()
	for _, env := range p.Components.Environments {
		env.Capabilities = append(env.Capabilities, urn.CoderStateBackedIterable)
	}
	first := p.Runner("group", urn.GroupByKey, "gkv", p.ParDo("make", "a", p.Impulse("impulse"), "kv"))
	second := p.Runner("group again", urn.GroupByKey, "gkv", p.ParDo("read", "a", first, "kv"))
	p.ParDo("hold", "a", second, "bytes")
	r.attach(p.Pipeline)
	read := map[string]int{}
	r.pool.config = fakesdk.Config{Process: func(b *fakesdk.Bundle) error {
		item, err := b.Next()
		if err != nil {
			return err
		}
		has := b.Descriptor.GetTransforms()
		if has["make"] != nil {
			err = emitValues(b, 3, 100_000)
		} else {
			name := "hold"
			if has["read"] != nil {
				name = "read"
			} else {
				until(t, "all blocks but the page and the input of this bundle to go", func() bool { return r.sp.Stats().Blocks <= 2 })
			}
			if read[name], err = readPages(b, item.Data[len(item.Data)-int(tokenLength(item.Data)):]); err == nil && name == "read" {
				err = emitValues(b, 7, 100_000)
			}
		}
		if err != nil {
			return err
		}
		if _, err = b.Next(); errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	}}
	j, err := r.m.Prepare(t.Context(), &jobpb.PrepareJobRequest{JobName: "test", Pipeline: p.Pipeline})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.m.Run(t.Context(), j.ID()); err != nil {
		t.Fatal(err)
	}
	if st, text := r.end(j.ID()); st != jobpb.JobState_DONE {
		t.Fatalf("the job is %v: %s", st, text)
	}
	if read["read"] != 3*100_003 || read["hold"] != 7*100_003 {
		t.Errorf("read %v bytes", read)
	}
}
