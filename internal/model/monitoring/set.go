package monitoring

import (
	"fmt"
	"maps"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pharos-beam/pharos/internal/model/coder"
)

// Set is a set of accumulated metrics. The zero value is empty and ready for
// use. It is not safe for concurrent use.
type Set struct {
	entries map[string]*entry
}

// entry is one metric.
type entry struct {
	urn, typ string
	labels   map[string]string
	start    *timestamppb.Timestamp // the earliest, nil if there is none
	value    accumulator
}

// Add merges mi into the value accumulated for its URN, type and labels. It
// keeps no reference to mi.
func (s *Set) Add(mi *pipepb.MonitoringInfo) error {
	value, err := decode(mi.GetType(), mi.GetPayload())
	if err != nil {
		return fmt.Errorf("metric %s of type %s, labels %v: %w", mi.GetUrn(), mi.GetType(), mi.GetLabels(), err)
	}
	s.put(keyOf(mi.GetUrn(), mi.GetType(), mi.GetLabels()), &entry{
		urn:    mi.GetUrn(),
		typ:    mi.GetType(),
		labels: maps.Clone(mi.GetLabels()),
		start:  mi.GetStartTime(),
		value:  value,
	})
	return nil
}

// Merge merges all metrics of o, which stays as it is, into s.
func (s *Set) Merge(o *Set) {
	for _, k := range o.keys() {
		e := *o.entries[k]
		e.value = e.value.clone()
		s.put(k, &e)
	}
}

// Len returns the number of metrics.
func (s *Set) Len() int { return len(s.entries) }

// put takes over e.
func (s *Set) put(key string, e *entry) {
	if s.entries == nil {
		s.entries = map[string]*entry{}
	}
	old := s.entries[key]
	if old == nil {
		s.entries[key] = e
		return
	}
	old.start = earlier(old.start, e.start)
	old.value.merge(e.value)
}

// Infos returns the metrics, sorted by URN, type and labels.
func (s *Set) Infos() []*pipepb.MonitoringInfo {
	infos := make([]*pipepb.MonitoringInfo, 0, len(s.entries))
	for _, k := range s.keys() {
		e := s.entries[k]
		infos = append(infos, e.info(e.value.encode()))
	}
	return infos
}

// Marshal encodes the set for Unmarshal: a length and a MonitoringInfo for each
// metric. Equal sets have equal encodings.
func (s *Set) Marshal() []byte {
	var dst []byte
	for _, k := range s.keys() {
		e := s.entries[k]
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(e.info(e.value.state()))
		if err != nil {
			// Strings come from valid protos, so this cannot be.
			panic(fmt.Sprintf("marshal metric %s: %v", e.urn, err))
		}
		dst = coder.AppendBytes(dst, b)
	}
	return dst
}

// Unmarshal merges what Marshal encoded into s.
func (s *Set) Unmarshal(b []byte) error {
	for len(b) > 0 {
		v, n, err := coder.DecodeBytes(b)
		if err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		var mi pipepb.MonitoringInfo
		if err := proto.Unmarshal(v, &mi); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		if err := s.Add(&mi); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (s *Set) keys() []string { return slices.Sorted(maps.Keys(s.entries)) }

func (e *entry) info(payload []byte) *pipepb.MonitoringInfo {
	return &pipepb.MonitoringInfo{
		Urn: e.urn, Type: e.typ, Labels: maps.Clone(e.labels), StartTime: e.start, Payload: payload,
	}
}

// keyOf identifies a metric. Keys sort like URN, type and labels.
func keyOf(urn, typ string, labels map[string]string) string {
	key := make([]byte, 0, 128)
	part := func(s string) {
		for i := range len(s) {
			// A zero byte ends a part; one within it is escaped.
			if key = append(key, s[i]); s[i] == 0 {
				key = append(key, 0xff)
			}
		}
		key = append(key, 0, 0)
	}
	part(urn)
	part(typ)
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		part(name)
		part(labels[name])
	}
	return string(key)
}

func earlier(a, b *timestamppb.Timestamp) *timestamppb.Timestamp {
	if a == nil || b != nil && b.AsTime().Before(a.AsTime()) {
		return b
	}
	return a
}
