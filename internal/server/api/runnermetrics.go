package api

import (
	"strconv"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
	"github.com/pharos-beam/pharos/internal/server"
)

// Metrics of the runner's own. They are not among those of the Jobs API: SDKs
// would hand them to users as counters and gauges of the pipeline.
const (
	// MetricInputWatermark and MetricOutputWatermark are event times, for each
	// transform those of its stage.
	MetricInputWatermark  = "pharos:metric:input_watermark:v1"
	MetricOutputWatermark = "pharos:metric:output_watermark:v1"
	// MetricBacklogElements and MetricBacklogBytes are what waits to be processed
	// by the first transform of a stage.
	MetricBacklogElements = "pharos:metric:backlog_elements:v1"
	MetricBacklogBytes    = "pharos:metric:backlog_bytes:v1"
)

// labelStage is the number of the stage.
const labelStage = "STAGE"

// Watermark is an event time.
type Watermark struct {
	MS   int64  `json:"time_ms"`
	Time string `json:"time"`
}

// runnerMetrics are how far each transform is, stage by stage.
func runnerMetrics(j server.Job) []Metric {
	out := []Metric{}
	p := j.Plan()
	if p == nil {
		return out
	}
	for _, s := range j.Progress() {
		if s.Stage >= len(p.Stages) {
			continue
		}
		for i, id := range p.Stages[s.Stage].Transforms {
			add := func(urn string, value any) {
				out = append(out, Metric{
					URN: urn, Transform: id, TransformName: j.Pipeline().GetComponents().GetTransforms()[id].GetUniqueName(),
					Labels: map[string]string{labelStage: strconv.Itoa(s.Stage)}, Value: value,
				})
			}
			add(MetricInputWatermark, watermark(s.InputWatermark))
			add(MetricOutputWatermark, watermark(s.Watermark))
			if i == 0 {
				add(MetricBacklogElements, s.PendingElements)
				add(MetricBacklogBytes, s.PendingBytes)
			}
		}
	}
	return out
}

func watermark(t timestamp.Time) Watermark { return Watermark{MS: int64(t), Time: t.String()} }

// String writes the time.
func (w Watermark) String() string { return w.Time }
