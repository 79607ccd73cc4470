package job

import (
	"encoding/binary"
	"testing"
	"time"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// counted is a metric of a transform.
func counted(name, transform string, n uint64) *pipepb.MonitoringInfo {
	return &pipepb.MonitoringInfo{
		Urn: name, Type: urn.TypeSumInt64, Payload: binary.AppendUvarint(nil, n), Labels: map[string]string{"PTRANSFORM": transform},
	}
}

func TestPace(t *testing.T) {
	begin := time.Unix(0, 0)
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	p := pace{last: begin}
	report := func(s int, elements, fast, slow uint64) {
		p.progressed([]*pipepb.MonitoringInfo{
			counted("beam:metric:element_count:v1", "a", elements), counted(urn.MetricProcessBundleMsecs, "fast", fast),
			counted(urn.MetricProcessBundleMsecs, "slow", slow), counted(urn.MetricTotalMsecs, "slow", slow),
		}, at(s))
	}
	report(1, 1, 500, 0)
	if p.last != at(1) || p.busy != "fast" {
		t.Errorf("after an element: %v, busy %q", p.last, p.busy)
	}
	p.told = true
	report(2, 1, 510, 900)
	if p.last != at(1) || !p.told || p.busy != "slow" {
		t.Errorf("time alone is no progress: %v, told %v, busy %q", p.last, p.told, p.busy)
	}
	report(3, 1, 510, 900)
	if p.last != at(1) || p.busy != "slow" {
		t.Errorf("nothing at all: %v, busy %q", p.last, p.busy)
	}
	report(4, 2, 510, 900)
	if p.last != at(4) || p.told {
		t.Errorf("another element: %v, told %v", p.last, p.told)
	}
}
