package environment

import (
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/secret"
)

// secrets are texts that must not get into logs and messages: boot programs
// write everything they were told to their output.
type secrets struct {
	options, own *strings.Replacer
}

// secrets of a worker of the pool. A job's id is its artifacts' token, and known
// to all who may ask for jobs; without a worker's id it opens nothing.
func (p *Pool) secrets(h *fnapi.Harness) secrets {
	token := p.opts.Artifacts.Token
	if token == p.opts.Job {
		token = ""
	}
	return secretsOf(h.ID(), token, p.opts.PipelineOptions)
}

// secretsOf are a worker's id, with which one could speak for it, the token of
// its artifacts, and what the job's options call secret.
func secretsOf(id, token string, options *structpb.Struct) secrets {
	own := []string{id, secret.Mask}
	if token != "" {
		own = append(own, token, secret.Mask)
	}
	return secrets{secret.Replacer(options), strings.NewReplacer(own...)}
}

// hide masks the secrets in a text.
func (s secrets) hide(text string) string { return s.own.Replace(s.options.Replace(text)) }
