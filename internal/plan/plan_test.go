package plan

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

var update = flag.Bool("update", false, "write the expected plans in testdata anew")

// variants are the options that plans must be right under.
var variants = []Options{{}, {NoFusion: true}, {NoLifting: true}, {Strategy: Reduce}, {Strategy: Shuffle, NoFusion: true, NoLifting: true}}

func load(t *testing.T, path string) *pipepb.Pipeline {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &pipepb.Pipeline{}
	if err := proto.Unmarshal(data, p); err != nil {
		t.Fatal(err)
	}
	return p
}

func build(t *testing.T, p *pipepb.Pipeline, o Options) *Plan {
	t.Helper()
	checked, err := pipeline.Validate(p)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Build(checked, o)
	if err != nil {
		t.Fatal(err)
	}
	checkPlan(t, checked, plan)
	return plan
}

// TestGolden plans pipelines that SDKs made.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.pb")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no pipelines: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".pb"), func(t *testing.T) {
			p := load(t, path)
			before := proto.Clone(p)
			for _, o := range variants {
				build(t, p, o)
			}
			got := build(t, p, Options{}).String()
			if again := build(t, p, Options{}).String(); again != got {
				t.Errorf("a second plan differs:\n%s", again)
			}
			if !proto.Equal(p, before) {
				t.Error("planning changed the pipeline")
			}
			golden(t, strings.TrimSuffix(path, ".pb")+".txt", got)
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the plan differs from %s (-update writes it anew):\n%s", path, got)
	}
}
