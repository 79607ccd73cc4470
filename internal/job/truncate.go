package job

import (
	"context"
	"fmt"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/harness/bundle"
)

// truncate has the restrictions of the input truncated, because the job is
// drained. What is left of them becomes input of the stage again.
func (a *attempt) truncate(ctx context.Context, res *result) error {
	b := newBuilder(a.r.blocks, true, func(b commit.Block) {
		a.record.Residual = append(a.record.Residual, commit.Residual{Block: b, Hold: commit.None})
	})
	in := a.s.plan.Input
	left := &output{name: in.ID, coll: a.s.input, sinks: []sink{{ends: a.s.plan.WindowedSides(), builders: []*builder{b}}}}
	var err error
	if a.s.truncation == nil {
		err = a.truncateUnasked(left)
	} else {
		err = a.truncateRestrictions(ctx, res, left)
	}
	if err != nil {
		return err
	}
	return left.close()
}

// truncateUnasked is for SDKs that cannot truncate: what reads from an unbounded
// source ends, all else is processed as it is.
func (a *attempt) truncateUnasked(left *output) error {
	if a.s.plan.Source() {
		return nil
	}
	for _, l := range a.ev.Leases {
		if err := a.eachBlock(l, left.write); err != nil {
			return err
		}
	}
	return nil
}

// truncateRestrictions has the SDK do it.
func (a *attempt) truncateRestrictions(ctx context.Context, res *result, left *output) error {
	pool := a.r.workers[a.s.plan.Environment]
	w, err := pool.Get(ctx)
	if err != nil {
		return err
	}
	defer pool.Put(w)
	source, err := a.input()
	if err != nil {
		return err
	}
	t := a.s.plan.Truncation
	source.port = t.InputPort
	out, err := w.Start(ctx, a.s.truncation, bundle.Spec{
		Descriptor:  a.s.truncation.Id,
		InputPort:   t.InputPort,
		Source:      source,
		State:       a,
		DataOutputs: []string{t.OutputPort},
		Output: func(port string, data []byte) (err error) {
			defer a.r.guard(&err)
			if port != t.OutputPort {
				return fmt.Errorf("data for unknown output %q", port)
			}
			return left.write(data)
		},
	}).Wait()
	if err != nil {
		return err
	}
	res.infos = a.s.reported(out.Infos)
	return nil
}
