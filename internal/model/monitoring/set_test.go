package monitoring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

func mustAdd(t testing.TB, s *Set, infos ...*pipepb.MonitoringInfo) {
	t.Helper()
	for _, mi := range infos {
		if err := s.Add(mi); err != nil {
			t.Fatal(err)
		}
	}
}

func info(typ, payload string) *pipepb.MonitoringInfo {
	b, err := hex.DecodeString(strings.ReplaceAll(payload, " ", ""))
	if err != nil {
		panic(err)
	}
	return &pipepb.MonitoringInfo{Urn: "m", Type: typ, Payload: b, Labels: map[string]string{urn.LabelName: "n"}}
}

// Payloads by type: two that are added, and the sum.
func TestMergeByType(t *testing.T) {
	const one, two, minusOne = "3ff0000000000000", "4000000000000000", "bff0000000000000"
	for _, tc := range []struct{ typ, a, b, want string }{
		{urn.TypeSumInt64, "05", "c801", "cd01"},
		{urn.TypeSumInt64, "05", "ffffffffffffffffff01", "04"},
		{urn.TypeSumDouble, one, one, two},
		{urn.TypeDistributionInt64, "02 0a 03 07", "01 02 02 02", "03 0c 02 07"},
		{urn.TypeDistributionInt64, "00 00 00 00", "01 02 02 02", "01 02 02 02"},
		{urn.TypeDistributionDouble, "01" + one + one + one, "01" + minusOne + minusOne + minusOne,
			"02" + "0000000000000000" + minusOne + one},
		{urn.TypeLatestInt64, "05 01", "04 02", "05 01"},
		{urn.TypeLatestInt64, "05 01", "05 02", "05 02"},
		{urn.TypeLatestDouble, "05" + one, "06" + minusOne, "06" + minusOne},
		{urn.TypeTopNInt64, "00000002 09 03", "00000002 05 04", "00000004 09 05 04 03"},
		{urn.TypeBottomNInt64, "00000002 09 03", "00000001 05", "00000003 03 05 09"},
		{urn.TypeTopNDouble, "00000001" + one, "00000001" + two, "00000002" + two + one},
		{urn.TypeBottomNDouble, "00000001" + one, "00000001" + minusOne, "00000002" + minusOne + one},
		{urn.TypeProgress, "00000001" + one, "00000001" + one, "00000001" + two},
		{urn.TypeSetString, "00000002 0162 0161", "ffffffff 02 0163 0161 00", "00000003 0161 0162 0163"},
		{"example:type", "01", "02", "02"},
	} {
		var s Set
		mustAdd(t, &s, info(tc.typ, tc.a), info(tc.typ, tc.b))
		if got, want := s.Infos(), info(tc.typ, tc.want); len(got) != 1 || !proto.Equal(got[0], want) {
			t.Errorf("%s: %s + %s = %v, want %s", tc.typ, tc.a, tc.b, got, tc.want)
		}
	}
}

func TestBadPayloads(t *testing.T) {
	for _, tc := range []struct{ typ, payload string }{
		{urn.TypeSumInt64, ""}, {urn.TypeSumInt64, "80"}, {urn.TypeSumInt64, "0101"},
		{urn.TypeSumDouble, "00"},
		{urn.TypeDistributionInt64, "010203"},
		{urn.TypeLatestInt64, "01"},
		{urn.TypeTopNInt64, "7fffffff01"}, {urn.TypeTopNInt64, "fffffffe"}, {urn.TypeTopNDouble, "ffffffff01"},
		{urn.TypeProgress, "0000"},
		{urn.TypeSetString, "00000001 05 61"}, {urn.TypeSetString, "ffffffff ffffffffffffffffff01"},
		{urn.TypeBoundedTrie, "ff"}, {urn.TypeHistogramInt64, "ff"},
	} {
		var s Set
		err := s.Add(info(tc.typ, tc.payload))
		if !errors.Is(err, ErrBadPayload) || !strings.Contains(err.Error(), tc.typ) {
			t.Errorf("%s: Add(%q): %v", tc.typ, tc.payload, err)
		}
		if s.Len() != 0 {
			t.Errorf("%s: a bad payload was added", tc.typ)
		}
	}
}

func FuzzAdd(f *testing.F) {
	for i := range knownTypes {
		f.Add(uint8(i), []byte{0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8})
	}
	f.Fuzz(func(t *testing.T, i uint8, payload []byte) {
		mi := &pipepb.MonitoringInfo{Urn: "m", Type: knownTypes[int(i)%len(knownTypes)], Payload: payload}
		var s Set
		if err := s.Add(mi); err != nil {
			return
		}
		// What comes out can be added again.
		for _, out := range s.Infos() {
			mustAdd(t, &s, out)
		}
		var again Set
		if err := again.Unmarshal(s.Marshal()); err != nil || !bytes.Equal(again.Marshal(), s.Marshal()) {
			t.Fatalf("Unmarshal: %v", err)
		}
	})
}

var knownTypes = []string{
	urn.TypeSumInt64, urn.TypeSumDouble, urn.TypeDistributionInt64, urn.TypeDistributionDouble,
	urn.TypeLatestInt64, urn.TypeLatestDouble, urn.TypeTopNInt64, urn.TypeTopNDouble,
	urn.TypeBottomNInt64, urn.TypeBottomNDouble, urn.TypeProgress, urn.TypeSetString,
	urn.TypeBoundedTrie, urn.TypeHistogramInt64,
}

// genDouble draws doubles whose sums are exact, and now and then a special one.
func genDouble(t *rapid.T, special bool) float64 {
	if special && rapid.IntRange(0, 9).Draw(t, "special") == 0 {
		return rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}).Draw(t, "double")
	}
	return float64(rapid.IntRange(-1000, 1000).Draw(t, "double"))
}

func genPayload(t *rapid.T, typ string) []byte {
	small := func() uint64 { return uint64(rapid.Int64Range(-3, 3).Draw(t, "int")) }
	n := rapid.IntRange(0, 3).Draw(t, "n")
	var b []byte
	switch typ {
	case urn.TypeSumInt64:
		return coder.AppendVarint(nil, rapid.Uint64().Draw(t, "int"))
	case urn.TypeSumDouble:
		return appendNumber(nil, genDouble(t, false))
	case urn.TypeDistributionInt64:
		for _, v := range []uint64{uint64(n), small(), small(), small()} {
			b = coder.AppendVarint(b, v)
		}
	case urn.TypeDistributionDouble:
		b = coder.AppendVarint(nil, uint64(n))
		for range 3 {
			b = appendNumber(b, genDouble(t, false))
		}
	case urn.TypeLatestInt64:
		b = coder.AppendVarint(coder.AppendVarint(nil, small()), small())
	case urn.TypeLatestDouble:
		b = appendNumber(coder.AppendVarint(nil, small()), genDouble(t, true))
	case urn.TypeTopNInt64, urn.TypeBottomNInt64:
		n = rapid.IntRange(0, MaxExtremes).Draw(t, "n")
		b = appendNumbers(nil, rapid.SliceOfN(rapid.Int64Range(0, 200), n, n).Draw(t, "values"))
	case urn.TypeTopNDouble, urn.TypeBottomNDouble:
		b = appendNumbers(nil, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) float64 { return genDouble(t, true) }), n, n).Draw(t, "values"))
	case urn.TypeProgress:
		b = appendNumbers(nil, []float64{genDouble(t, false), genDouble(t, false)}[:min(n, 2)])
	case urn.TypeSetString:
		s := stringSet{values: rapid.SliceOfN(rapid.StringN(0, 2, 2), n, n).Draw(t, "strings")}
		return s.encode()
	case urn.TypeBoundedTrie:
		return genTrie(t)
	case urn.TypeHistogramInt64:
		return genHistogram(t)
	}
	return b
}

func genTrie(t *rapid.T) []byte {
	p := &pipepb.BoundedTrie{Bound: int32(rapid.IntRange(0, 6).Draw(t, "bound"))}
	if rapid.Bool().Draw(t, "singleton") {
		p.Singleton = rapid.SliceOfN(rapid.StringN(1, 1, 1), 0, 4).Draw(t, "path")
	} else {
		p.Root = genNode(t, 3)
	}
	b, _ := proto.Marshal(p)
	return b
}

func genNode(t *rapid.T, depth int) *pipepb.BoundedTrieNode {
	n := &pipepb.BoundedTrieNode{Truncated: rapid.IntRange(0, 5).Draw(t, "truncated") == 0}
	if n.Truncated || depth == 0 {
		return n
	}
	n.Children = map[string]*pipepb.BoundedTrieNode{}
	for range rapid.IntRange(0, 3).Draw(t, "children") {
		n.Children[rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name")] = genNode(t, depth-1)
	}
	return n
}

func genHistogram(t *rapid.T) []byte {
	counts := rapid.SliceOfN(rapid.Int64Range(0, 5), 0, 4).Draw(t, "buckets")
	var count int64
	for _, c := range counts {
		count += c
	}
	width := rapid.SampledFrom([]float64{1, 1, 1, 2}).Draw(t, "width")
	b, _ := proto.Marshal(&pipepb.HistogramValue{
		Count: &count, BucketCounts: counts,
		BucketOptions: &pipepb.HistogramValue_BucketOptions{BucketType: &pipepb.HistogramValue_BucketOptions_Linear_{
			Linear: &pipepb.HistogramValue_BucketOptions_Linear{Width: &width},
		}},
	})
	return b
}

func genInfo(t *rapid.T, typ string) *pipepb.MonitoringInfo {
	mi := &pipepb.MonitoringInfo{
		Urn: "m", Type: typ, Payload: genPayload(t, typ),
		Labels: map[string]string{urn.LabelName: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")},
	}
	if rapid.Bool().Draw(t, "start") {
		mi.StartTime = &timestamppb.Timestamp{Seconds: rapid.Int64Range(0, 3).Draw(t, "seconds")}
	}
	return mi
}

// The result does not depend on the order of the infos, nor on how they are
// spread over sets, nor on whether sets are stored in between.
func TestMergeIsCommutativeAndAssociative(t *testing.T) {
	for _, typ := range knownTypes {
		t.Run(typ, func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { propMerge(t, typ) }) })
	}
}

func propMerge(t *rapid.T, typ string) {
	infos := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *pipepb.MonitoringInfo {
		return genInfo(t, typ)
	}), 0, 10).Draw(t, "infos")
	var all Set
	for _, mi := range infos {
		if err := all.Add(mi); err != nil {
			t.Fatal(err)
		}
	}

	groups := make([]Set, 3)
	for _, mi := range rapid.Permutation(infos).Draw(t, "order") {
		if err := groups[rapid.IntRange(0, 2).Draw(t, "group")].Add(mi); err != nil {
			t.Fatal(err)
		}
	}
	before := groups[1].Marshal()
	groups[0].Merge(&groups[1])
	var stored Set
	if err := stored.Unmarshal(groups[2].Marshal()); err != nil {
		t.Fatal(err)
	}
	stored.Merge(&groups[0])

	if !bytes.Equal(stored.Marshal(), all.Marshal()) {
		t.Fatalf("merged:\n%v\nin order:\n%v", stored.Infos(), all.Infos())
	}
	if !slices.EqualFunc(stored.Infos(), all.Infos(), func(a, b *pipepb.MonitoringInfo) bool { return proto.Equal(a, b) }) {
		t.Fatalf("merged:\n%v\nin order:\n%v", stored.Infos(), all.Infos())
	}
	if !bytes.Equal(groups[1].Marshal(), before) {
		t.Fatal("Merge changed the set it read")
	}
}

func TestSetIsSortedAndSeparate(t *testing.T) {
	var s Set
	count := func(u string, labels map[string]string) *pipepb.MonitoringInfo {
		return &pipepb.MonitoringInfo{Urn: u, Type: urn.TypeSumInt64, Payload: []byte{1}, Labels: labels}
	}
	mustAdd(t, &s,
		count("b", nil), count("a", map[string]string{"x": "2"}), count("a", map[string]string{"x": "1", "y": "1"}),
		count("a", map[string]string{"x": "1"}), count("a", map[string]string{"x": "1"}), count("a", map[string]string{"x\x00": "1"}),
	)
	var got []string
	for v := range s.All() {
		got = append(got, fmt.Sprintf("%s%v=%d", v.URN, v.Labels, v.Int))
	}
	want := []string{"amap[x:1]=2", "amap[x:1 y:1]=1", "amap[x:2]=1", "amap[x\x00:1]=1", "bmap[]=1"}
	if !slices.Equal(got, want) {
		t.Errorf("metrics %q, want %q", got, want)
	}
	if s.Len() != len(want) {
		t.Errorf("Len() = %d", s.Len())
	}
}

func TestUnmarshalGarbage(t *testing.T) {
	for _, b := range []string{"\x05a", "\x02\xff\xff", "\x80"} {
		var s Set
		if err := s.Unmarshal([]byte(b)); err == nil {
			t.Errorf("Unmarshal(%q) succeeded", b)
		}
	}
}

func TestAddKeepsNoReference(t *testing.T) {
	var s Set
	mi := info("example:type", "0102")
	mustAdd(t, &s, mi)
	mi.Payload[0], mi.Labels[urn.LabelName] = 9, "other"
	if got := s.Infos()[0]; got.Payload[0] != 1 || got.Labels[urn.LabelName] != "n" {
		t.Errorf("the set changed with the info: %v", got)
	}
}
