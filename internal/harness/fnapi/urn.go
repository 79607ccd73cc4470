package fnapi

// URNs of the Fn API that this package acts on (beam_runner_api.proto,
// StandardProtocols and StandardRunnerProtocols; beam_fn_api.proto).
const (
	urnSource = "beam:runner:source:v1"
	urnSink   = "beam:runner:sink:v1"

	// CapabilityRequestElements: the SDK takes a bundle's elements inside the
	// ProcessBundleRequest.
	CapabilityRequestElements = "beam:protocol:control_request_elements_embedding:v1"
	// CapabilityResponseElements: the runner takes a bundle's output inside the
	// ProcessBundleResponse.
	CapabilityResponseElements = "beam:protocol:control_response_elements_embedding:v1"
	// CapabilityShortIDs: the runner resolves short ids of monitoring infos.
	CapabilityShortIDs = "beam:protocol:monitoring_info_short_ids:v1"
)

// DefaultCapabilities returns the runner capabilities that this package
// implements.
func DefaultCapabilities() []string {
	return []string{CapabilityShortIDs, CapabilityResponseElements}
}
