package pipeline

// URNs of the transforms that the runner tells apart.
const (
	URNImpulse        = "beam:transform:impulse:v1"
	URNGroupByKey     = "beam:transform:group_by_key:v1"
	URNFlatten        = "beam:transform:flatten:v1"
	URNTestStream     = "beam:transform:teststream:v1"
	URNReshuffle      = "beam:transform:reshuffle:v1"
	URNRedistribute   = "beam:transform:redistribute_arbitrarily:v1"
	URNRedistributeBy = "beam:transform:redistribute_by_key:v1"
	URNCombinePerKey  = "beam:transform:combine_per_key:v1"

	URNParDo        = "beam:transform:pardo:v1"
	URNWindowInto   = "beam:transform:window_into:v1"
	URNMapWindows   = "beam:transform:map_windows:v1"
	URNMergeWindows = "beam:transform:merge_windows:v1"
	URNToString     = "beam:transform:to_string:v1"

	URNCombineGrouped      = "beam:transform:combine_grouped_values:v1"
	URNCombinePrecombine   = "beam:transform:combine_per_key_precombine:v1"
	URNCombineMerge        = "beam:transform:combine_per_key_merge_accumulators:v1"
	URNCombineExtract      = "beam:transform:combine_per_key_extract_outputs:v1"
	URNCombineToAccumlator = "beam:transform:combine_per_key_convert_to_accumulators:v1"

	URNPairWithRestriction = "beam:transform:sdf_pair_with_restriction:v1"
	URNSplitAndSize        = "beam:transform:sdf_split_and_size_restrictions:v1"
	URNProcessSized        = "beam:transform:sdf_process_sized_element_and_restrictions:v1"
	URNTruncate            = "beam:transform:sdf_truncate_sized_restrictions:v1"
)

// URNs of side input access patterns, coders and user state.
const (
	URNSideIterable = "beam:side_input:iterable:v1"
	URNSideMultimap = "beam:side_input:multimap:v1"

	URNCoderKV             = "beam:coder:kv:v1"
	URNCoderIterable       = "beam:coder:iterable:v1"
	URNCoderLengthPrefix   = "beam:coder:length_prefix:v1"
	URNCoderGlobalWindow   = "beam:coder:global_window:v1"
	URNCoderIntervalWindow = "beam:coder:interval_window:v1"
	URNCoderCustomWindow   = "beam:coder:custom_window:v1"

	URNStateBag         = "beam:user_state:bag:v1"
	URNStateMultimap    = "beam:user_state:multimap:v1"
	URNStateOrderedList = "beam:user_state:ordered_list:v1"
)

// requirements are those that this runner meets.
var requirements = map[string]bool{
	"beam:requirement:pardo:stateful:v1":             true,
	"beam:requirement:pardo:finalization:v1":         true,
	"beam:requirement:pardo:stable_input:v1":         true,
	"beam:requirement:pardo:time_sorted_input:v1":    true,
	"beam:requirement:pardo:on_window_expiration:v1": true,
	"beam:requirement:pardo:splittable_dofn:v1":      true,
}

// runnerKinds are the transforms that the runner runs itself. What they
// contain is not looked at.
var runnerKinds = map[string]Kind{
	URNImpulse:        Impulse,
	URNGroupByKey:     GroupByKey,
	URNFlatten:        Flatten,
	URNTestStream:     TestStream,
	URNReshuffle:      Redistribute,
	URNRedistribute:   Redistribute,
	URNRedistributeBy: Redistribute,
	URNCombinePerKey:  Combine,
}

// sdkURNs are the transforms that every SDK is expected to run. An SDK may
// announce more in the capabilities of its environment.
var sdkURNs = map[string]bool{
	URNParDo: true, URNWindowInto: true, URNMapWindows: true, URNMergeWindows: true, URNToString: true,
	URNCombineGrouped: true, URNCombinePrecombine: true, URNCombineMerge: true, URNCombineExtract: true,
	URNCombineToAccumlator: true,
	URNPairWithRestriction: true, URNSplitAndSize: true, URNProcessSized: true, URNTruncate: true,
}

// parDoURNs have a ParDoPayload, so they can have side inputs.
var parDoURNs = map[string]bool{
	URNParDo: true, URNPairWithRestriction: true, URNSplitAndSize: true, URNProcessSized: true, URNTruncate: true,
}

// combineURNs have a CombinePayload.
var combineURNs = map[string]bool{
	URNCombinePerKey: true, URNCombineGrouped: true, URNCombinePrecombine: true, URNCombineMerge: true,
	URNCombineExtract: true, URNCombineToAccumlator: true,
}
