package job

import (
	"github.com/pharos-beam/pharos/internal/engine/commit"
)

// maxUnfolded is how many bundles have metrics of their own in the store.
const maxUnfolded = 1000

// fold puts the metrics of many bundles into one row.
func (d *driver) fold(bundle uint64) {
	if d.records == nil {
		return
	}
	if d.unfolded = append(d.unfolded, bundle); len(d.unfolded) < maxUnfolded {
		return
	}
	d.j.mu.Lock()
	sum, err := encodeInfos(d.j.metrics.committed.Infos())
	d.j.mu.Unlock()
	if err != nil {
		d.log.Warn("metrics cannot be written down", "err", err)
		return
	}
	d.committer.add(&commit.Record{Ops: d.records.Fold(nil, sum, d.unfolded)})
	d.unfolded = nil
}
