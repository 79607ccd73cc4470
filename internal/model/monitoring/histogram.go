package monitoring

import (
	"bytes"
	"fmt"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
)

// histogram counts values in buckets. Histograms with different buckets cannot
// be added; an SDK that changes the buckets of a metric during a job is not
// expected, and of two such the one with the larger encoding of its options is
// kept, whichever came first.
type histogram struct {
	options []byte // the encoded bucket options
	count   int64
	buckets []int64
}

func readHistogram(r *reader) accumulator {
	var p pipepb.HistogramValue
	if err := proto.Unmarshal(r.all(), &p); err != nil {
		r.fail(fmt.Errorf("%w: histogram: %v", ErrBadPayload, err))
		return nil
	}
	options, err := proto.MarshalOptions{Deterministic: true}.Marshal(p.GetBucketOptions())
	if err != nil {
		r.fail(fmt.Errorf("%w: histogram: %v", ErrBadPayload, err))
		return nil
	}
	return &histogram{options: options, count: p.GetCount(), buckets: trimZeros(p.GetBucketCounts())}
}

// trimZeros leaves out trailing empty buckets, which need not be encoded.
func trimZeros(counts []int64) []int64 {
	for len(counts) > 0 && counts[len(counts)-1] == 0 {
		counts = counts[:len(counts)-1]
	}
	return counts
}

func (h *histogram) merge(o accumulator) {
	oh := o.(*histogram)
	switch c := bytes.Compare(h.options, oh.options); {
	case c > 0:
		return
	case c < 0:
		*h = *oh
		return
	}
	h.count += oh.count
	for len(h.buckets) < len(oh.buckets) {
		h.buckets = append(h.buckets, 0)
	}
	for i, n := range oh.buckets {
		h.buckets[i] += n
	}
	h.buckets = trimZeros(h.buckets)
}

func (h *histogram) proto() *pipepb.HistogramValue {
	var options pipepb.HistogramValue_BucketOptions
	_ = proto.Unmarshal(h.options, &options) // it is what readHistogram wrote
	count := h.count
	return &pipepb.HistogramValue{Count: &count, BucketOptions: &options, BucketCounts: h.buckets}
}

func (h *histogram) encode() []byte {
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(h.proto()) // no strings, no required fields
	return b
}

func (h *histogram) state() []byte { return h.encode() }

func (h *histogram) clone() accumulator {
	c := *h
	c.buckets = slices.Clone(h.buckets)
	return &c
}
