package monitoring

import (
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

func ints(vs ...uint64) (b []byte) {
	for _, v := range vs {
		b = coder.AppendVarint(b, v)
	}
	return b
}

// Reports of a running total, each less the one before, add up to the last.
func TestSince(t *testing.T) {
	for _, c := range []struct {
		typ     string
		reports [][]byte
	}{
		{urn.TypeSumInt64, [][]byte{ints(1), ints(6), ints(6), ints(10)}},
		{urn.TypeDistributionInt64, [][]byte{ints(1, 5, 5, 5), ints(3, 12, 3, 5), ints(4, 32, 3, 20)}},
		{urn.TypeDistributionInt64, [][]byte{ints(0, 0, 0, 4, 1, 5, 5, 5), ints(0, 0, 0, 4, 3, 12, 3, 5)}},
		{urn.TypeLatestInt64, [][]byte{ints(1, 5), ints(2, 3)}},
	} {
		var all Set
		var base *pipepb.MonitoringInfo
		for _, p := range c.reports {
			now := &pipepb.MonitoringInfo{Urn: "m", Type: c.typ, Payload: p}
			part := now
			if base != nil {
				var err error
				if part, err = Since(now, base); err != nil {
					t.Fatal(err)
				}
			}
			if err := all.Add(part); err != nil {
				t.Fatal(err)
			}
			base = now
		}
		if got, want := all.Infos()[0].GetPayload(), c.reports[len(c.reports)-1]; string(got) != string(want) {
			t.Errorf("%s: the parts add up to %v, want %v", c.typ, got, want)
		}
	}
}

func TestSinceErrors(t *testing.T) {
	good := &pipepb.MonitoringInfo{Type: urn.TypeSumInt64, Payload: ints(1)}
	bad := &pipepb.MonitoringInfo{Type: urn.TypeSumInt64}
	other := &pipepb.MonitoringInfo{Type: urn.TypeSumDouble, Payload: make([]byte, 8)}
	for _, c := range [][2]*pipepb.MonitoringInfo{{good, bad}, {bad, good}, {good, other}} {
		if _, err := Since(c[0], c[1]); err == nil {
			t.Errorf("Since(%v, %v) has no error", c[0], c[1])
		}
	}
}

// TypeScript's distributions are lists; they keep that form.
func TestListedDistribution(t *testing.T) {
	var s Set
	for _, p := range [][]byte{ints(0, 0, 0, 4, 2, 300, 100, 200), ints(0, 0, 0, 4, 1, 7, 7, 7)} {
		if err := s.Add(&pipepb.MonitoringInfo{Urn: "m", Type: urn.TypeDistributionInt64, Labels: map[string]string{"a": "b"}, Payload: p}); err != nil {
			t.Fatal(err)
		}
	}
	if d, _ := s.Distribution("m", "a", "b"); d != (Distribution{Count: 3, Sum: 307, Min: 7, Max: 200}) {
		t.Errorf("distribution %+v", d)
	}
	if got, want := s.Infos()[0].GetPayload(), ints(0, 0, 0, 4, 3, 307, 7, 200); string(got) != string(want) {
		t.Errorf("payload %v, want %v", got, want)
	}
	for _, p := range [][]byte{ints(0, 0, 0, 4, 1, 2), ints(0, 0, 0, 4, 1, 2, 3, 4, 5), ints(0, 0, 0, 3, 1, 2, 3, 4)} {
		if err := s.Add(&pipepb.MonitoringInfo{Urn: "m", Type: urn.TypeDistributionInt64, Payload: p}); err == nil {
			t.Errorf("payload %v is taken", p)
		}
	}
}
