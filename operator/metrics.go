package operator

import (
	"context"
	"errors"
	"sync"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

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

// add adds a bundle's metrics; what cannot be read is left out.
func (m *metrics) add(infos []*pipepb.MonitoringInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mi := range infos {
		_ = m.set.Add(mi)
	}
}

// Metrics returns the metrics of all bundles so far; those that run are asked
// how far they are.
func (o *Operator) Metrics(ctx context.Context) ([]Metric, error) {
	o.mu.Lock()
	open := make([]*session, 0, len(o.sessions))
	for s := range o.sessions {
		open = append(open, s)
	}
	o.mu.Unlock()
	var all monitoring.Set
	var errs []error
	for _, s := range open {
		b := s.running.Load()
		if b == nil {
			continue
		}
		infos, err := b.Progress(ctx)
		errs = append(errs, err)
		for _, mi := range infos {
			_ = all.Add(mi)
		}
	}
	o.metrics.mu.Lock()
	all.Merge(&o.metrics.set)
	o.metrics.mu.Unlock()
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
