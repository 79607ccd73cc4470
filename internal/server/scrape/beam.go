package scrape

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/monitoring"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// beam sends the metrics of Beam's. It returns how many it has left out; those
// of URNs that have no family do not count.
func (s jobSender) beam(c *pipepb.Components, infos []*pipepb.MonitoringInfo) (omitted int) {
	var set monitoring.Set
	for _, mi := range infos {
		if _, shown := beams[mi.GetUrn()]; !shown {
			continue
		}
		if set.Add(mi) != nil {
			omitted++
		}
	}
	sent := map[string]bool{}
	for v := range set.All() {
		b := beams[v.URN]
		labels := s.beamLabels(c, b, v)
		series := strings.Join(append([]string{b.desc.String()}, labels...), "\x00")
		if len(sent) >= seriesMax || sent[series] || (v.Distribution == nil) != (b.min == nil) {
			omitted++
			continue
		}
		sent[series] = true
		s.beamValue(b, v, labels)
	}
	return omitted
}

func (s jobSender) beamLabels(c *pipepb.Components, b beam, v monitoring.Value) []string {
	labels := s.labels(nil)
	for _, l := range b.labels {
		value := v.Labels[l]
		switch l {
		case urn.LabelPTransform:
			value = named(labelTransform, c, value)
		case urn.LabelPCollection:
			value = named(labelPCollection, c, value)
		}
		labels = append(labels, label(value))
	}
	return labels
}

func (s jobSender) beamValue(b beam, v monitoring.Value, labels []string) {
	if b.min == nil {
		s.to.value(b.desc, b.kind, float64(v.Int)+v.Double, labels...)
		return
	}
	d := v.Distribution
	s.to <- prometheus.MustNewConstSummary(b.desc, uint64(d.Count), d.Sum, nil, labels...)
	s.to.gauge(b.min, d.Min, labels...)
	s.to.gauge(b.max, d.Max, labels...)
}
