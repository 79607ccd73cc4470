package fnapi

import "github.com/pharos-beam/pharos/internal/model/urn"

// DefaultCapabilities returns the runner capabilities that this package
// implements: it resolves short ids of monitoring infos, and package bundle
// takes a bundle's output inside the response.
func DefaultCapabilities() []string {
	return []string{urn.ProtocolMonitoringInfoShortIDs, urn.ProtocolControlResponseElementsEmbedding}
}
