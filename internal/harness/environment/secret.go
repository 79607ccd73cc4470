package environment

import (
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

const (
	// hidden stands where a secret was.
	hidden = "[hidden]"
	// secretBytesMin is the length below which an option's value is no secret
	// that could be found in a text.
	secretBytesMin = 4
	// optionDepthMax bounds how deep in a job's options secrets are looked for.
	optionDepthMax = 4
)

// secretName is what options are called whose values nobody is to read in a log.
var secretName = regexp.MustCompile(`(?i)passw|secret|token|credential|api_?key|access_?key|private_?key`)

// secrets are texts that must not get into logs and messages: boot programs
// write everything they were told to their output.
type secrets []string

// secrets of a worker: its id, with which one could speak for it, the token of
// its artifacts, and what the job's options call secret.
func (p *Pool) secrets(h *fnapi.Harness) secrets {
	s := secrets{h.ID()}
	if t := p.opts.Artifacts.Token; t != "" && t != p.opts.Job {
		s = append(s, t)
	}
	s = append(s, secretOptions(p.opts.PipelineOptions, 0)...)
	// Of two that begin alike, the longer must go first.
	slices.SortFunc(s, func(a, b string) int { return len(b) - len(a) })
	return s
}

// secretOptions finds the values of options with a secret's name.
func secretOptions(o *structpb.Struct, depth int) []string {
	if depth > optionDepthMax {
		return nil
	}
	var found []string
	for name, v := range o.GetFields() {
		if t := v.GetStringValue(); len(t) >= secretBytesMin && secretName.MatchString(name) {
			found = append(found, t)
		}
		found = append(found, secretOptions(v.GetStructValue(), depth+1)...)
	}
	return found
}

// hide replaces the secrets in a text.
func (s secrets) hide(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, hidden)
	}
	return text
}
