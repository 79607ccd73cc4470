package environment

import (
	"strings"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/secret"
)

// secrets are texts that must not get into logs and messages: boot programs
// write everything they were told to their output.
type secrets struct {
	options, own *strings.Replacer
}

// secrets of a worker: its id, with which one could speak for it, the token of
// its artifacts, and what the job's options call secret.
func (p *Pool) secrets(h *fnapi.Harness) secrets {
	own := []string{h.ID(), secret.Mask}
	if t := p.opts.Artifacts.Token; t != "" && t != p.opts.Job {
		own = append(own, t, secret.Mask)
	}
	return secrets{secret.Replacer(p.opts.PipelineOptions), strings.NewReplacer(own...)}
}

// hide masks the secrets in a text.
func (s secrets) hide(text string) string { return s.own.Replace(s.options.Replace(text)) }
