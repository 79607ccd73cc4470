package environment

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
)

// contact is what a worker is told on its command line: who it is, and where
// the runner's services are.
type contact struct {
	id                                     string
	control, logging, provision, artifacts string
}

// contact of a worker that the pool starts.
func (p *Pool) contact(h *fnapi.Harness) contact {
	e := h.Endpoint()
	return contact{id: h.ID(), control: e, logging: e, provision: e, artifacts: p.artifactEndpoint()}
}

// flags of Beam's container contract, for a boot program; the provision service
// tells it the rest.
func (c contact) flags() []string {
	return []string{
		"--id=" + c.id,
		"--provision_endpoint=" + c.provision,
		"--control_endpoint=" + c.control,
		"--logging_endpoint=" + c.logging,
		"--artifact_endpoint=" + c.artifacts,
	}
}

// vars are the variables by which SDK harnesses find the runner when no boot
// program tells them.
func (c contact) vars(info provision) []string {
	api := func(url string) string { return fmt.Sprintf("url: %q", url) }
	vars := []string{
		"WORKER_ID=" + c.id,  // Python
		"HARNESS_ID=" + c.id, // Java
		"CONTROL_API_SERVICE_DESCRIPTOR=" + api(c.control),
		"LOGGING_API_SERVICE_DESCRIPTOR=" + api(c.logging),
		"RUNNER_CAPABILITIES=" + strings.Join(info.capabilities, " "),
	}
	if info.status != "" {
		vars = append(vars, "STATUS_API_SERVICE_DESCRIPTOR="+api(info.status))
	}
	if info.options != nil {
		if b, err := protojson.Marshal(info.options); err == nil {
			vars = append(vars, "PIPELINE_OPTIONS="+string(b))
		}
	}
	return vars
}
