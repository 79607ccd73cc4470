package pipeline

import "github.com/pharos-beam/pharos/internal/model/urn"

// requirements are those that this runner meets.
var requirements = map[string]bool{
	urn.RequirementStateful:           true,
	urn.RequirementBundleFinalization: true,
	urn.RequirementStableInput:        true,
	urn.RequirementTimeSortedInput:    true,
	urn.RequirementOnWindowExpiration: true,
	urn.RequirementSplittableDoFn:     true,
}

// runnerKinds are the transforms that the runner runs itself. What they
// contain is not looked at.
var runnerKinds = map[string]Kind{
	urn.Impulse:                 Impulse,
	urn.GroupByKey:              GroupByKey,
	urn.Flatten:                 Flatten,
	urn.TestStream:              TestStream,
	urn.Reshuffle:               Redistribute,
	urn.RedistributeArbitrarily: Redistribute,
	urn.RedistributeByKey:       Redistribute,
	urn.CombinePerKey:           Combine,
}

// parDoURNs have a ParDoPayload, so they can have side inputs.
var parDoURNs = map[string]bool{
	urn.ParDo: true, urn.SDFPairWithRestriction: true, urn.SDFSplitAndSizeRestrictions: true,
	urn.SDFProcessSizedElements: true, urn.SDFTruncateSizedRestrictions: true,
}

// combineURNs have a CombinePayload.
var combineURNs = map[string]bool{
	urn.CombinePerKey: true, urn.CombineGroupedValues: true, urn.CombinePerKeyPrecombine: true,
	urn.CombinePerKeyMergeAccumulators: true, urn.CombinePerKeyExtractOutputs: true,
	urn.CombinePerKeyConvertToAccums: true,
}

// Known reports whether SDKs run transforms with this URN as the Beam model
// says, so that it is known what their payloads refer to.
func Known(u string) bool { return sdkURNs[u] || parDoURNs[u] || combineURNs[u] || u == urn.Flatten }

// sdkURNs are the other transforms that every SDK is expected to run. An SDK
// may announce more in the capabilities of its environment.
var sdkURNs = map[string]bool{
	urn.AssignWindows: true, urn.MapWindows: true, urn.MergeWindows: true, urn.ToString: true,
}
