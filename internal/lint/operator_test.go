package lint

import (
	"os/exec"
	"strings"
	"testing"
)

// TestOperatorStandsAlone: another engine that imports package operator gets the
// harness layer and the model, and nothing of the runner.
func TestOperatorStandsAlone(t *testing.T) {
	const root = "github.com/pharos-beam/pharos/"
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Deps \" \"}}", "../../operator/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		fields := strings.Fields(line)
		for _, dep := range fields[1:] {
			rel, own := strings.CutPrefix(dep, root)
			if own && !matches(rel, []string{"operator", "internal/model/", "internal/harness/"}) {
				t.Errorf("%s depends on %s", fields[0], rel)
			}
			if strings.HasPrefix(dep, "github.com/apache/beam/sdks/v2/") && !strings.Contains(dep, "/pkg/beam/model/") {
				t.Errorf("%s depends on %s: only Beam's protos are allowed", fields[0], dep)
			}
			if (strings.HasPrefix(dep, "github.com/moby/") || rel == "internal/harness/docker") && fields[0] != root+"operator/docker" {
				t.Errorf("%s depends on %s: Docker's client is for those who import operator/docker", fields[0], dep)
			}
		}
	}
}
