package job

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pharos-beam/pharos/internal/engine/commit"
	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/storage/table"
)

// restore makes the core: a new one, or one that goes on where the records of a
// durable job have left it.
func (d *driver) restore(cfg core.Config) error {
	o := &d.j.m.opts
	f := d.j.found
	d.j.found = nil
	if f == nil {
		f = &found{records: table.NewRecords(d.j.id), saved: &table.Saved{}}
	}
	d.committer = newCommitter(o.Store, d.tell, nil, nil)
	if o.Durable {
		d.r.durable, d.records = true, f.records
		d.committer = newCommitter(o.Store, d.tell, f.records, o.Spool.Sync)
	}
	saved := f.saved
	d.core = core.Recover(d.j.plan, cfg, core.Saved{
		Items: saved.Items, Shards: saved.Shards, Marks: saved.Marks, Sides: saved.Sides, Bundle: saved.Bundle, Seq: saved.Seq,
	})
	d.r.blocks.adopt(f.blocks(), saved.Aliases)
	for _, id := range saved.Kept {
		d.kept.add([]page{{id, pageBytes}}) // about so much
	}
	slices.SortFunc(saved.Sides, func(a, b commit.Side) int { return cmp.Compare(a.Seq, b.Seq) })
	d.r.routeSides(&commit.Record{Sides: saved.Sides})
	return d.restoreMetrics(saved.Metrics)
}

// restoreMetrics adds up the committed metrics.
func (d *driver) restoreMetrics(all map[uint64][]byte) error {
	for bundle, b := range all {
		infos, err := decodeInfos(b)
		if err != nil {
			return fmt.Errorf("metrics of bundle %d: %w", bundle, err)
		}
		for _, mi := range infos {
			if err := d.j.metrics.committed.Add(mi); err != nil {
				return fmt.Errorf("metrics of bundle %d: %w", bundle, err)
			}
		}
		if bundle != 0 {
			d.unfolded = append(d.unfolded, bundle)
		}
	}
	return nil
}
