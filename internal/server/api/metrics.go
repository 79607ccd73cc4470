package api

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sort"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/server"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// MetricsView holds the metrics of a job. Attempted counts every attempt of a
// bundle, committed only those whose effects exist.
type MetricsView struct {
	Attempted []Metric `json:"attempted"`
	Committed []Metric `json:"committed"`
	// Runner are watermarks and backlogs, as the runner sees them now.
	Runner []Metric `json:"runner"`
}

// Metric is one metric with its decoded value: a number, a Distribution, a
// Gauge, a list, or, for what is unknown, the base64 of its payload.
type Metric struct {
	URN           string `json:"urn"`
	Type          string `json:"type,omitempty"`      // of Beam's metrics
	Namespace     string `json:"namespace,omitempty"` // user metrics
	Name          string `json:"name,omitempty"`
	Transform     string `json:"transform,omitempty"`      // id
	TransformName string `json:"transform_name,omitempty"` // as the pipeline's author knows it
	PCollection   string `json:"pcollection,omitempty"`
	// PCollectionName is the PCollection's name, as that of the transform.
	PCollectionName string            `json:"pcollection_name,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"` // all others
	Value           any               `json:"value"`
	User            bool              `json:"user"`
}

// Distribution summarizes reported values.
type Distribution[T int64 | float64] struct {
	Count int64 `json:"count"`
	Sum   T     `json:"sum"`
	Min   T     `json:"min"`
	Max   T     `json:"max"`
}

// Of is what the metric is about, by name where the pipeline has one.
func (m Metric) Of() string {
	switch {
	case m.TransformName != "":
		return m.TransformName
	case m.PCollectionName != "":
		return m.PCollectionName
	}
	return m.Transform + m.PCollection
}

// String writes a distribution on one line.
func (d Distribution[T]) String() string {
	return fmt.Sprintf("count=%d sum=%v min=%v max=%v", d.Count, d.Sum, d.Min, d.Max)
}

// Gauge is a latest value.
type Gauge[T int64 | float64] struct {
	TimeMS int64 `json:"time_ms"`
	Value  T     `json:"value"`
}

// String writes the value.
func (g Gauge[T]) String() string { return fmt.Sprint(g.Value) }

// Metrics returns the metrics of a job, sorted by URN, transform and name.
func Metrics(j server.Job) MetricsView {
	attempted, committed := j.Metrics()
	c := j.Pipeline().GetComponents()
	return MetricsView{Attempted: metrics(c, attempted), Committed: metrics(c, committed), Runner: runnerMetrics(j)}
}

// metrics decodes them, those of the pipeline's own code first.
func metrics(c *pipepb.Components, infos []*pipepb.MonitoringInfo) []Metric {
	out := make([]Metric, 0, len(infos))
	for _, mi := range infos {
		m := metric(mi)
		m.TransformName = c.GetTransforms()[m.Transform].GetUniqueName()
		m.PCollectionName = c.GetPcollections()[m.PCollection].GetUniqueName()
		out = append(out, m)
	}
	sort.SliceStable(out, func(a, b int) bool { return out[a].sortKey() < out[b].sortKey() })
	return out
}

func (m Metric) sortKey() string {
	whose := "system"
	if m.User {
		whose = ""
	}
	return strings.Join([]string{whose, m.URN, m.Transform, m.PCollection, m.Namespace, m.Name, fmt.Sprint(m.Labels)}, "\x00")
}

func metric(mi *pipepb.MonitoringInfo) Metric {
	m := Metric{
		URN: mi.GetUrn(), Type: mi.GetType(), User: strings.HasPrefix(mi.GetUrn(), "beam:metric:user:"),
		Value: decodeMetric(mi.GetType(), mi.GetPayload()),
	}
	for k, v := range mi.GetLabels() {
		switch k {
		case "NAMESPACE":
			m.Namespace = v
		case "NAME":
			m.Name = v
		case "PTRANSFORM":
			m.Transform = v
		case "PCOLLECTION":
			m.PCollection = v
		default:
			if m.Labels == nil {
				m.Labels = map[string]string{}
			}
			m.Labels[k] = v
		}
	}
	return m
}

// decodeMetric decodes a payload for people. Encodings are those of metrics.proto.
func decodeMetric(typ string, payload []byte) any {
	d := &decoder{b: payload}
	var v any
	switch typ {
	case "beam:metrics:sum_int64:v1":
		v = d.varint()
	case "beam:metrics:sum_double:v1":
		v = d.double()
	case "beam:metrics:distribution_int64:v1":
		v = Distribution[int64]{Count: d.varint(), Sum: d.varint(), Min: d.varint(), Max: d.varint()}
	case "beam:metrics:distribution_double:v1":
		v = Distribution[float64]{Count: d.varint(), Sum: d.double(), Min: d.double(), Max: d.double()}
	case "beam:metrics:latest_int64:v1":
		v = Gauge[int64]{TimeMS: d.varint(), Value: d.varint()}
	case "beam:metrics:latest_double:v1":
		v = Gauge[float64]{TimeMS: d.varint(), Value: d.double()}
	case "beam:metrics:top_n_int64:v1", "beam:metrics:bottom_n_int64:v1":
		v = list(d, d.varint)
	case "beam:metrics:top_n_double:v1", "beam:metrics:bottom_n_double:v1", "beam:metrics:progress:v1":
		v = list(d, d.double)
	case "beam:metrics:set_string:v1":
		v = list(d, d.text)
	case "beam:metrics:bounded_trie:v1":
		return decodeMessage(payload, &pipepb.BoundedTrie{})
	case "beam:metrics:histogram_int64:v1":
		return decodeMessage(payload, &pipepb.HistogramValue{})
	default:
		return base64.StdEncoding.EncodeToString(payload)
	}
	if d.err != nil {
		return base64.StdEncoding.EncodeToString(payload)
	}
	return v
}

// decodeMessage turns a proto payload into plain JSON values.
func decodeMessage(payload []byte, m proto.Message) any {
	if proto.Unmarshal(payload, m) != nil {
		return base64.StdEncoding.EncodeToString(payload)
	}
	b, err := protojson.Marshal(m)
	if err != nil {
		return base64.StdEncoding.EncodeToString(payload)
	}
	return rawJSON(b)
}

// rawJSON is JSON already.
type rawJSON []byte

// MarshalJSON implements json.Marshaler.
func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

// String returns the JSON.
func (r rawJSON) String() string { return string(r) }

// decoder reads Beam's nested encodings and remembers the first error.
type decoder struct {
	b   []byte
	err error
}

var errShort = errors.New("payload too short")

func (d *decoder) varint() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.err = errShort
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

func (d *decoder) take(n int64) []byte {
	if n < 0 || n > int64(len(d.b)) {
		d.err = errShort
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) double() float64 {
	b := d.take(8)
	if d.err != nil {
		return 0
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(b))
	if math.IsNaN(f) || math.IsInf(f, 0) {
		d.err = errors.New("not a JSON number")
	}
	return f
}

func (d *decoder) text() string { return strings.ToValidUTF8(string(d.take(d.varint())), "\uFFFD") }

// list reads Beam's iterable encoding: a count, or -1 and blocks that end with
// an empty one.
func list[T any](d *decoder, next func() T) []T {
	out := []T{}
	read := func(n int64) {
		for ; n > 0 && d.err == nil; n-- {
			out = append(out, next())
		}
	}
	head := d.take(4)
	if d.err != nil {
		return nil
	}
	if n := int32(binary.BigEndian.Uint32(head)); n >= 0 {
		read(int64(n))
		return out
	}
	for d.err == nil {
		n := d.varint()
		if n <= 0 {
			break
		}
		read(n)
	}
	return out
}
