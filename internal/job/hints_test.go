package job

import (
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"google.golang.org/protobuf/types/known/structpb"
)

func TestHints(t *testing.T) {
	for _, c := range []struct {
		hints     map[string]string
		room      int // on 8 CPUs and 16 GiB
		unmet     int
		elsewhere int // room on a machine whose memory is not known
	}{
		{nil, 8, 0, 8},
		{map[string]string{urn.ResourceCPUCount: "2"}, 4, 0, 4},
		{map[string]string{urn.ResourceMinRAMBytes: "4294967296"}, 4, 0, 8},
		{map[string]string{urn.ResourceCPUCount: "3", urn.ResourceMinRAMBytes: "1073741824"}, 2, 0, 2},
		{map[string]string{urn.ResourceCPUCount: "9"}, 1, 1, 1},
		{map[string]string{urn.ResourceMinRAMBytes: "1099511627776", urn.ResourceAccelerator: "type:nvidia"}, 1, 2, 8},
		{map[string]string{urn.ResourceCPUCount: "many", urn.ResourceMinRAMBytes: "-1"}, 8, 0, 8},
	} {
		env := &pipepb.Environment{ResourceHints: map[string][]byte{}}
		for k, v := range c.hints {
			env.ResourceHints[k] = []byte(v)
		}
		h := readHints(env)
		if got := h.room(8, 16<<30); got != c.room {
			t.Errorf("%v: room for %d, want %d", c.hints, got, c.room)
		}
		if got := h.room(8, 0); got != c.elsewhere {
			t.Errorf("%v: room for %d where memory is not known, want %d", c.hints, got, c.elsewhere)
		}
		if got := h.unmet(8, 16<<30); len(got) != c.unmet {
			t.Errorf("%v: unmet %q", c.hints, got)
		}
	}
}

func TestOptionsThatShapeBundles(t *testing.T) {
	options, err := structpb.NewStruct(map[string]any{
		"beam:option:parallelism:v1": 2,
		"beam:option:go_options:v1": map[string]any{"options": map[string]any{
			"max_bundle_size": "100", "max_bundle_time_mills": "250", "max_attempts": "7",
		}},
		"beam:option:sdk_worker_parallelism:v1": "3",
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSettings(options)
	if err != nil || s.maxAttempts != 7 || s.workersPerEnvironment != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	cfg := core.Config{RunnerSlots: 8, Slots: map[string]int{"a": 1, "b": 16}, ComputeSlots: map[string]int{"b": 8}, BundleMS: 1000}
	s.shape(&cfg)
	if cfg.RunnerSlots != 2 || cfg.Slots["a"] != 1 || cfg.Slots["b"] != 2 || cfg.ComputeSlots["b"] != 2 {
		t.Errorf("slots %+v", cfg)
	}
	if cfg.BundleElements != 100 || cfg.BundleMS != 250 || cfg.BundleTargetMS != 250 {
		t.Errorf("bundles %+v", cfg)
	}
}

// What SDKs send when nobody has set an option says nothing.
func TestOptionsThatNobodySet(t *testing.T) {
	options, err := structpb.NewStruct(map[string]any{
		"beam:option:parallelism:v1": -1, "beam:option:sdk_worker_parallelism:v1": "1", "beam:option:max_bundle_size:v1": nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSettings(options)
	if err != nil || s.parallelism != 0 || s.workersPerEnvironment != 0 || s.bundleElements != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}
