package monitoring

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

func TestLookups(t *testing.T) {
	var s Set
	mustAdd(t, &s,
		&pipepb.MonitoringInfo{Urn: urn.MetricElementCount, Type: urn.TypeSumInt64, Payload: []byte{5}, Labels: map[string]string{urn.LabelPCollection: "p"}},
		&pipepb.MonitoringInfo{Urn: urn.MetricElementCount, Type: urn.TypeSumInt64, Payload: []byte{7}, Labels: map[string]string{urn.LabelPCollection: "q"}},
		&pipepb.MonitoringInfo{Urn: urn.MetricSampledByteSize, Type: urn.TypeDistributionInt64, Payload: []byte{2, 10, 3, 7}, Labels: map[string]string{urn.LabelPCollection: "p"}},
		&pipepb.MonitoringInfo{Urn: urn.MetricSampledByteSize, Type: urn.TypeDistributionInt64, Payload: []byte{1, 1, 1, 1}, Labels: map[string]string{urn.LabelPCollection: "p", "x": "y"}},
	)
	if n := s.Counter(urn.MetricElementCount, urn.LabelPCollection, "p"); n != 5 {
		t.Errorf("Counter = %d", n)
	}
	d, ok := s.Distribution(urn.MetricSampledByteSize, urn.LabelPCollection, "p")
	if !ok || d != (Distribution{Count: 3, Sum: 11, Min: 1, Max: 7}) {
		t.Errorf("Distribution = %+v, %v", d, ok)
	}
	if _, ok := s.Distribution(urn.MetricSampledByteSize, urn.LabelPCollection, "q"); ok {
		t.Error("Distribution of nothing")
	}
	if m := (Distribution{Count: 2, Sum: 5}).Mean(); m != 2.5 {
		t.Errorf("Mean = %v", m)
	}
	if m := (Distribution{}).Mean(); m != 0 {
		t.Errorf("Mean of nothing = %v", m)
	}
	// Lookups do not change the set.
	if d, _ := s.Distribution(urn.MetricSampledByteSize, urn.LabelPCollection, "p"); d.Count != 3 {
		t.Errorf("the second time: %+v", d)
	}
}

func trieInfo(t *testing.T, bound int32, paths ...string) *pipepb.MonitoringInfo {
	t.Helper()
	tr := &trie{bound: int(bound)}
	for _, p := range paths {
		tr.root = join(tr.root, pathOf(strings.Split(p, "/"), maxTrieDepth))
	}
	return &pipepb.MonitoringInfo{Urn: "m", Type: urn.TypeBoundedTrie, Payload: tr.state()}
}

func pathsOf(s *Set) []string {
	var got []string
	for v := range s.All() {
		for _, p := range v.Paths {
			got = append(got, strings.Join(p, "/"))
		}
	}
	return got
}

func TestBoundedTrie(t *testing.T) {
	var s Set
	singleton, err := proto.Marshal(&pipepb.BoundedTrie{Singleton: []string{"gs", "other"}})
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, &s,
		trieInfo(t, 3, "gs/bucket/a", "gs/bucket/b"),
		&pipepb.MonitoringInfo{Urn: "m", Type: urn.TypeBoundedTrie, Payload: singleton},
		trieInfo(t, 100, "gs/bucket"), // is the beginning of others
	)
	want := []string{"gs/bucket/a", "gs/bucket/b", "gs/other"}
	if got := pathsOf(&s); !slices.Equal(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
	// One path too many: the largest subtree is truncated.
	mustAdd(t, &s, trieInfo(t, 100, "gs/bucket/c"))
	want = []string{"gs/bucket/*", "gs/other"}
	if got := pathsOf(&s); !slices.Equal(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
	// What SDKs see has the same paths.
	var sdk Set
	mustAdd(t, &sdk, s.Infos()...)
	if got := pathsOf(&sdk); !slices.Equal(got, want) {
		t.Errorf("paths of the info %q, want %q", got, want)
	}
}

func TestBoundedTrieMemory(t *testing.T) {
	var s Set
	for i := range 1000 {
		mustAdd(t, &s, trieInfo(t, 2, "a/"+strconv.Itoa(i)))
	}
	if n := len(s.Marshal()); n > 2000 {
		t.Errorf("state of %d bytes", n)
	}
	if got := pathsOf(&s); !slices.Equal(got, []string{"a/*"}) {
		t.Errorf("paths %q", got)
	}
}

func TestBoundedTrieDepth(t *testing.T) {
	deep := make([]string, 2*maxTrieDepth)
	payload, err := proto.Marshal(&pipepb.BoundedTrie{Singleton: deep})
	if err != nil {
		t.Fatal(err)
	}
	var s Set
	mustAdd(t, &s, &pipepb.MonitoringInfo{Urn: "m", Type: urn.TypeBoundedTrie, Payload: payload})
	for v := range s.All() {
		if n := len(v.Paths[0]); n != maxTrieDepth+1 || v.Paths[0][n-1] != "*" {
			t.Errorf("path of %d segments", n)
		}
	}
}

func TestHistogram(t *testing.T) {
	payload := func(width float64, counts ...int64) []byte {
		var n int64
		for _, c := range counts {
			n += c
		}
		b, err := proto.Marshal(&pipepb.HistogramValue{
			Count: &n, BucketCounts: counts,
			BucketOptions: &pipepb.HistogramValue_BucketOptions{BucketType: &pipepb.HistogramValue_BucketOptions_Linear_{
				Linear: &pipepb.HistogramValue_BucketOptions_Linear{Width: &width},
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var s Set
	for _, p := range [][]byte{payload(1, 1, 2), payload(1, 0, 1, 4, 0)} {
		mustAdd(t, &s, &pipepb.MonitoringInfo{Urn: "m", Type: urn.TypeHistogramInt64, Payload: p})
	}
	for v := range s.All() {
		if v.Histogram.GetCount() != 8 || !slices.Equal(v.Histogram.GetBucketCounts(), []int64{1, 3, 4}) || v.Histogram.GetBucketOptions().GetLinear().GetWidth() != 1 {
			t.Errorf("histogram %v", v.Histogram)
		}
	}
}

func TestValues(t *testing.T) {
	var s Set
	mustAdd(t, &s,
		info(urn.TypeLatestInt64, "05 07"), info(urn.TypeTopNInt64, "00000002 01 02"), info(urn.TypeBottomNDouble, "00000001 3ff0000000000000"),
		info(urn.TypeSetString, "00000001 0161"), info(urn.TypeProgress, "00000001 3ff0000000000000"),
		info(urn.TypeDistributionDouble, "00 000000000000000000000000000000000000000000000000"),
	)
	for v := range s.All() {
		ok := true
		switch v.Type {
		case urn.TypeLatestInt64:
			ok = v.AtMS == 5 && v.Int == 7
		case urn.TypeTopNInt64:
			ok = slices.Equal(v.Ints, []int64{2, 1})
		case urn.TypeBottomNDouble:
			ok = slices.Equal(v.Doubles, []float64{1})
		case urn.TypeSetString:
			ok = slices.Equal(v.Strings, []string{"a"})
		case urn.TypeProgress:
			ok = v.Double == 1
		case urn.TypeDistributionDouble:
			ok = *v.Distribution == Distribution{}
		}
		if !ok {
			t.Errorf("%s: %+v", v.Type, v)
		}
	}
}
