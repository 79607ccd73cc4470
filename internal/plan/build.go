package plan

import (
	"fmt"

	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// Options of Build. The zero value is what users get; the rest exists for
// tests, which compare results with and without each optimisation.
type Options struct {
	NoFusion  bool     // every transform is a stage of its own
	NoLifting bool     // combines are not lifted
	Strategy  Strategy // forces the strategy of every GroupByKey; 0 chooses
}

// Build makes an execution plan for a validated pipeline.
func Build(p *pipeline.Pipeline, o Options) (*Plan, error) {
	return nil, fmt.Errorf("not yet")
}
