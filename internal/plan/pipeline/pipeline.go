package pipeline

import (
	"fmt"
	"slices"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/window"
)

// Kind says what becomes of a transform.
type Kind uint8

// The kinds of transform.
const (
	// Composite only has subtransforms.
	Composite Kind = iota + 1
	// NoOp is a leaf whose outputs are among its inputs: nothing is to be done.
	NoOp
	// SDK is a leaf that an SDK harness runs.
	SDK
	// Impulse, GroupByKey, Flatten and TestStream are run by the runner.
	Impulse
	GroupByKey
	Flatten
	TestStream
	// Redistribute passes its input on, and asks not to be fused over.
	Redistribute
	// Combine is combine_per_key: a leaf where it is lifted, otherwise a
	// composite.
	Combine
)

// Port is an input or output of a transform.
type Port struct {
	Local      string // the transform's name for it
	Collection string // PCollection id
}

// Transform is a node of the tree of transforms.
type Transform struct {
	ID          string
	Name        string // the user's name for it, or the id if there is none
	URN         string
	Kind        Kind
	Environment string // empty for what no SDK runs
	Proto       *pipepb.PTransform
	Inputs      []Port // main inputs, by local name
	Sides       []Port // side inputs, by local name
	Outputs     []Port // by local name
	Children    []*Transform

	// One of these is set if the transform has such a payload.
	ParDo      *pipepb.ParDoPayload
	Combine    *pipepb.CombinePayload
	TestStream *pipepb.TestStreamPayload
}

// Pipeline is a pipeline that has been checked. Nobody changes it, nor the
// proto it came from.
type Pipeline struct {
	Proto *pipepb.Pipeline
	Roots []*Transform
	// Coders are the pipeline's, and those made to wrap window coders.
	Coders map[string]*pipepb.Coder
	// Windowings are those in use; their window coders are global, interval or
	// custom windows.
	Windowings map[string]*pipepb.WindowingStrategy
	// Strategies are the same, decoded.
	Strategies map[string]*window.Strategy
}

// Collection returns a PCollection, or nil.
func (p *Pipeline) Collection(id string) *pipepb.PCollection {
	return p.Proto.GetComponents().GetPcollections()[id]
}

// Environment returns an environment, or nil.
func (p *Pipeline) Environment(id string) *pipepb.Environment {
	return p.Proto.GetComponents().GetEnvironments()[id]
}

// Strategy returns the windowing strategy of a PCollection, or nil.
func (p *Pipeline) Strategy(collection string) *window.Strategy {
	return p.Strategies[p.Collection(collection).GetWindowingStrategyId()]
}

// Capable reports whether an environment announces a capability.
func (p *Pipeline) Capable(environment, capability string) bool {
	for _, c := range p.Environment(environment).GetCapabilities() {
		if strings.TrimSpace(c) == capability {
			return true
		}
	}
	return false
}

// announces reports whether a capability of an environment begins with prefix.
func (p *Pipeline) announces(environment, prefix string) bool {
	return slices.ContainsFunc(p.Environment(environment).GetCapabilities(), func(c string) bool {
		return strings.HasPrefix(strings.TrimSpace(c), prefix)
	})
}

// Rejection is the error of Validate: everything that is wrong with a
// pipeline, at once.
type Rejection struct {
	Reasons []string
}

// Error implements error.
func (r *Rejection) Error() string {
	if len(r.Reasons) == 1 {
		return "the pipeline cannot be run: " + r.Reasons[0]
	}
	return fmt.Sprintf("the pipeline cannot be run, for %d reasons:\n  %s", len(r.Reasons), strings.Join(r.Reasons, "\n  "))
}
