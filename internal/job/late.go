package job

import (
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Elements that come after their window has expired are dropped, and counted
// under the name that Beam's other runners have for it, as if the transform
// that would have got them had counted them.
const (
	droppedNamespace = "pharos"
	droppedName      = "droppedDueToLateness"
)

// droppedDueToLateness is the count of what the attempt has dropped.
func (a *attempt) droppedDueToLateness() *pipepb.MonitoringInfo {
	return &pipepb.MonitoringInfo{
		Urn:     urn.MetricUserSumInt64,
		Type:    urn.TypeSumInt64,
		Payload: coder.AppendVarint(nil, uint64(a.dropped)),
		Labels: map[string]string{
			urn.LabelPTransform: a.s.plan.Taker(), urn.LabelNamespace: droppedNamespace, urn.LabelName: droppedName,
		},
	}
}
