package monitoring

import (
	"fmt"
	"maps"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// totals are metrics of which an earlier part can be taken away.
type totals interface {
	// since takes away base, an earlier value of the same running total.
	since(base accumulator)
}

// Since returns what has come to a running total since it was base: the
// difference of sums, and of the counts and sums of distributions. The extremes
// of a distribution stay those of the whole, which does no harm where the parts
// are merged again. Metrics of other types are returned as they are.
func Since(now, base *pipepb.MonitoringInfo) (*pipepb.MonitoringInfo, error) {
	if now.GetType() != base.GetType() {
		return nil, fmt.Errorf("metric %s: of type %s, before of type %s", now.GetUrn(), now.GetType(), base.GetType())
	}
	n, err := decode(now.GetType(), now.GetPayload())
	if err != nil {
		return nil, fmt.Errorf("metric %s: %w", now.GetUrn(), err)
	}
	t, ok := n.(totals)
	if !ok {
		return now, nil
	}
	b, err := decode(base.GetType(), base.GetPayload())
	if err != nil {
		return nil, fmt.Errorf("metric %s: %w", now.GetUrn(), err)
	}
	t.since(b)
	return &pipepb.MonitoringInfo{
		Urn: now.GetUrn(), Type: now.GetType(), Labels: maps.Clone(now.GetLabels()), StartTime: now.GetStartTime(), Payload: n.encode(),
	}, nil
}

func (s *sum[T]) since(base accumulator) { s.v -= base.(*sum[T]).v }

func (d *distribution[T]) since(base accumulator) {
	b := base.(*distribution[T])
	d.count -= b.count
	d.sum -= b.sum
}
