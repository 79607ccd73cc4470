package job

import (
	"context"
	"slices"
	"time"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/monitoring"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// jobMetrics are the monitoring infos of a job. Committed are those of records
// that are durable. Attempted are also those of bundles under way, as far as
// their progress says, and of attempts that failed: neither ever falls.
type jobMetrics struct {
	committed monitoring.Set
	failed    monitoring.Set
	live      map[uint64]*monitoring.Set // attempts that run or wait for their commit, by bundle
}

func (m *jobMetrics) infos() (attempted, committed []*pipepb.MonitoringInfo) {
	committed = m.committed.Infos()
	var all monitoring.Set
	all.Merge(&m.committed)
	all.Merge(&m.failed)
	for _, s := range m.live {
		all.Merge(s)
	}
	return all.Infos(), committed
}

// poll asks long bundles for their progress.
func (d *driver) poll() {
	for id, ex := range d.running {
		if time.Since(ex.started) < progressEvery {
			continue
		}
		d.wg.Add(1)
		go func() {
			defer d.wg.Done()
			ctx, cancel := context.WithTimeout(d.ctx, progressEvery)
			defer cancel()
			infos := ex.attempt.split.progress(ctx)
			if infos == nil {
				return
			}
			d.tell(progressed{id, ex, infos, setOf(ex.attempt.s.reported(infos))})
		}()
	}
}

// reported are the infos that are about the pipeline. A harness measures the
// ends of its channels to the runner, too: nobody who asks for metrics knows them.
func (s *stage) reported(infos []*pipepb.MonitoringInfo) []*pipepb.MonitoringInfo {
	return slices.DeleteFunc(slices.Clone(infos), func(mi *pipepb.MonitoringInfo) bool {
		return s.plan.IsPort(mi.GetLabels()[urn.LabelPTransform])
	})
}

// setOf collects infos; a malformed one is reported when its bundle commits.
func setOf(infos []*pipepb.MonitoringInfo) *monitoring.Set {
	var set monitoring.Set
	for _, mi := range infos {
		_ = set.Add(mi)
	}
	return &set
}

// setLive notes the metrics of a running attempt.
func (d *driver) setLive(bundle uint64, s *monitoring.Set) {
	d.j.mu.Lock()
	defer d.j.mu.Unlock()
	if d.j.metrics.live == nil {
		d.j.metrics.live = map[uint64]*monitoring.Set{}
	}
	d.j.metrics.live[bundle] = s
}

// attemptMetrics notes the metrics of an attempt that has ended. Of one that
// failed nothing is known but its last progress.
func (d *driver) attemptMetrics(x attemptDone) {
	if x.err == nil {
		d.setLive(x.ev.Bundle, setOf(x.res.infos))
		return
	}
	d.j.mu.Lock()
	defer d.j.mu.Unlock()
	if s := d.j.metrics.live[x.ev.Bundle]; s != nil {
		d.j.metrics.failed.Merge(s)
		delete(d.j.metrics.live, x.ev.Bundle)
	}
}

// count adds a committed bundle's metrics.
func (d *driver) count(res *result) {
	c := &d.counts[res.record.Stage]
	c.bundles++
	c.in += res.input
	for _, n := range res.output {
		c.out += n
	}
	d.j.mu.Lock()
	defer d.j.mu.Unlock()
	delete(d.j.metrics.live, res.record.Bundle)
	for _, mi := range res.infos {
		if err := d.j.metrics.committed.Add(mi); err != nil {
			d.log.Warn("a metric of the SDK is malformed", "urn", mi.GetUrn(), "err", err)
		}
	}
}
