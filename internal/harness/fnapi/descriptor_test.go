package fnapi_test

import (
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

func lease(t *testing.T, h *fnapi.Harness) *fnapi.Lease {
	t.Helper()
	l, err := h.Lease("stage-1")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// count is a counter's info.
func count(n uint64) []*pipepb.MonitoringInfo {
	return []*pipepb.MonitoringInfo{{Urn: "m", Type: urn.TypeSumInt64, Payload: coder.AppendVarint(nil, n)}}
}

func counted(t *testing.T, infos []*pipepb.MonitoringInfo) uint64 {
	t.Helper()
	n, _, err := coder.Varint(infos[0].GetPayload())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLeasesOfRunningTotals(t *testing.T) {
	s := fnapi.NewServer(fnapi.Options{})
	h := s.Expect(fnapi.WorkerConfig{Traits: fnapi.Traits{RunningTotals: true}})
	h.AddDescriptor(&fnpb.ProcessBundleDescriptor{Id: "stage-1"})
	a, b := lease(t, h), lease(t, h)
	if a.ID() == b.ID() {
		t.Error("two bundles at a time share an id")
	}
	a.Release(count(3))
	c := lease(t, h)
	if c.ID() != a.ID() {
		t.Errorf("id %q is not used again, but %q", a.ID(), c.ID())
	}
	if n := counted(t, c.Since(count(5))); n != 2 {
		t.Errorf("the second bundle counted %d, want 2", n)
	}
	if n := counted(t, b.Since(count(4))); n != 4 {
		t.Errorf("the other bundle counted %d, want 4", n)
	}
	c.Discard()
	if d := lease(t, h); d.ID() == c.ID() || counted(t, d.Since(count(1))) != 1 {
		t.Error("a failed bundle's lease is used again")
	}
	h.Close(nil)
	if _, err := h.Lease("stage-1"); err == nil {
		t.Error("a closed harness leases")
	}
}

func TestLeaseIsSharedWithoutTotals(t *testing.T) {
	s := fnapi.NewServer(fnapi.Options{})
	h := s.Expect(fnapi.WorkerConfig{})
	defer h.Close(nil)
	h.AddDescriptor(&fnpb.ProcessBundleDescriptor{Id: "stage-1"})
	a, b := lease(t, h), lease(t, h)
	if a.ID() != b.ID() {
		t.Error("two bundles have different ids")
	}
	a.Release(count(3))
	if n := counted(t, b.Since(count(5))); n != 5 {
		t.Errorf("counted %d, want 5", n)
	}
}
