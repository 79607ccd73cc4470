package fnapi

import (
	"context"
	"errors"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
)

// MonitoringInfos returns what short ids of monitoring infos stand for: infos
// without payload, which the caller must not change. Short ids belong to one
// worker; what they mean is asked once and cached. Ids that the worker does not
// know are missing from the result.
func (h *Harness) MonitoringInfos(ctx context.Context, shortIDs []string) (map[string]*pipepb.MonitoringInfo, error) {
	found := make(map[string]*pipepb.MonitoringInfo, len(shortIDs))
	var missing []string
	h.mu.Lock()
	for _, id := range shortIDs {
		switch mi, ok := h.shortIDs[id]; {
		case !ok:
			missing = append(missing, id)
		case mi != nil:
			found[id] = mi
		}
	}
	h.mu.Unlock()
	if len(missing) == 0 {
		return found, nil
	}
	resp, err := h.Instruct(ctx, &fnpb.InstructionRequest{
		Request: &fnpb.InstructionRequest_MonitoringInfos{
			MonitoringInfos: &fnpb.MonitoringInfosMetadataRequest{MonitoringInfoId: missing},
		},
	})
	if err != nil {
		return found, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.shortIDs) > shortIDsMax {
		clear(h.shortIDs)
	}
	known := resp.GetMonitoringInfos().GetMonitoringInfo()
	for _, id := range missing {
		h.shortIDs[id] = known[id] // nil: not asked again
		if known[id] != nil {
			found[id] = known[id]
		}
	}
	return found, nil
}

// ResolveInfos makes whole monitoring infos of what a bundle's response or
// progress reports in its two fields. SDKs fill the first, the second, or both
// with the same content. An SDK that cannot resolve its own short ids loses
// those; only a dead worker or ctx is an error.
func (h *Harness) ResolveInfos(ctx context.Context, infos []*pipepb.MonitoringInfo, data map[string][]byte) ([]*pipepb.MonitoringInfo, error) {
	if len(infos) >= len(data) {
		return infos, nil
	}
	ids := make([]string, 0, len(data))
	for id := range data {
		ids = append(ids, id)
	}
	known, err := h.MonitoringInfos(ctx, ids)
	var refused *SDKError
	if err != nil && !errors.As(err, &refused) {
		return infos, err
	}
	seen := map[string]bool{}
	for _, mi := range infos {
		seen[infoKey(mi)] = true
	}
	for _, id := range ids {
		mi, ok := known[id]
		if !ok || (len(seen) > 0 && seen[infoKey(mi)]) {
			continue
		}
		infos = append(infos, &pipepb.MonitoringInfo{
			Urn: mi.GetUrn(), Type: mi.GetType(), Labels: mi.GetLabels(),
			Payload: data[id], StartTime: mi.GetStartTime(),
		})
	}
	return infos, nil
}

// infoKey identifies what mi measures.
func infoKey(mi *pipepb.MonitoringInfo) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&pipepb.MonitoringInfo{
		Urn: mi.GetUrn(), Type: mi.GetType(), Labels: mi.GetLabels(),
	})
	if err != nil {
		return mi.GetUrn()
	}
	return string(b)
}
