package operator

import (
	"context"
	"errors"
	"sync"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/bundle"
	"github.com/pharos-beam/pharos/internal/model/monitoring"
)

// Metric is a value that a function or its harness has reported.
type Metric struct {
	// URN is the kind of metric, as Beam names it.
	URN string
	// Labels say what it is about; a function's own metrics have NAMESPACE and
	// NAME.
	Labels map[string]string
	// Int and Double are counters, gauges.
	Int    int64
	Double float64
	// Count, Sum, Min and Max are those of a distribution.
	Count         int64
	Sum, Min, Max float64
}

// Name is the name of a metric of a function's own, else "".
func (m *Metric) Name() string { return m.Labels["NAME"] }

// metrics are those of bundles that have ended.
type metrics struct {
	mu  sync.Mutex
	set monitoring.Set
}

// attempt is a bundle that has been started, whose metrics count once: as far as
// it is, until they are among those of bundles that have ended.
type attempt struct {
	*bundle.Bundle
	last  []*pipepb.MonitoringInfo // what it has last said, under metrics.mu
	ended chan struct{}            // closed under metrics.mu
}

func newAttempt(b *bundle.Bundle) *attempt { return &attempt{Bundle: b, ended: make(chan struct{})} }

// end adds the metrics of a bundle that has ended, none if it has failed and r is
// nil. What cannot be read is left out.
func (m *metrics) end(a *attempt, r *bundle.Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r != nil {
		for _, mi := range r.Infos {
			_ = m.set.Add(mi)
		}
	}
	close(a.ended)
}

// Metrics returns the metrics of all bundles so far, each counted once; those that
// run are asked how far they are. It may be called after Close. With an error some
// of what runs is missing.
func (o *Operator) Metrics(ctx context.Context) ([]Metric, error) {
	o.mu.Lock()
	open := make([]*attempt, 0, len(o.sessions))
	for s := range o.sessions {
		if a := s.running.Load(); a != nil {
			open = append(open, a)
		}
	}
	o.mu.Unlock()
	said := make([][]*pipepb.MonitoringInfo, len(open))
	var errs []error
	for i, a := range open {
		var err error
		if said[i], err = a.progress(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	all := o.metrics.with(open, said)
	var out []Metric
	for v := range all.All() {
		m := Metric{URN: v.URN, Labels: v.Labels, Int: v.Int, Double: v.Double}
		if d := v.Distribution; d != nil {
			m.Count, m.Sum, m.Min, m.Max = d.Count, d.Sum, d.Min, d.Max
		}
		out = append(out, m)
	}
	return out, errors.Join(errs...)
}

// progress asks the bundle how far it is. If it has ended meanwhile, progress
// returns when that is counted.
func (a *attempt) progress(ctx context.Context) ([]*pipepb.MonitoringInfo, error) {
	infos, err := a.Progress(ctx)
	select {
	case <-a.Done():
	default:
		return infos, err
	}
	select {
	case <-a.ended:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// with returns the metrics of bundles that have ended and of those that have not,
// which have said how far they are, or nothing.
func (m *metrics) with(open []*attempt, said [][]*pipepb.MonitoringInfo) *monitoring.Set {
	all := &monitoring.Set{}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, a := range open {
		select {
		case <-a.ended: // what it has said is older than what is counted
			continue
		default:
		}
		if len(said[i]) > 0 {
			a.last = said[i]
		}
		for _, mi := range a.last {
			_ = all.Add(mi)
		}
	}
	all.Merge(&m.set)
	return all
}
