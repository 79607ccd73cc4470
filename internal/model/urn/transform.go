package urn

// Primitive transforms.
const (
	ParDo         = "beam:transform:pardo:v1"
	Flatten       = "beam:transform:flatten:v1"
	GroupByKey    = "beam:transform:group_by_key:v1"
	Impulse       = "beam:transform:impulse:v1"
	AssignWindows = "beam:transform:window_into:v1"
	TestStream    = "beam:transform:teststream:v1"
	MapWindows    = "beam:transform:map_windows:v1"
	MergeWindows  = "beam:transform:merge_windows:v1"
	ToString      = "beam:transform:to_string:v1"
	// Read and CreateView are deprecated primitives.
	Read       = "beam:transform:read:v1"
	CreateView = "beam:transform:create_view:v1"
)

// Composite transforms.
const (
	CombinePerKey                  = "beam:transform:combine_per_key:v1"
	CombineGlobally                = "beam:transform:combine_globally:v1"
	Reshuffle                      = "beam:transform:reshuffle:v1"
	RedistributeByKey              = "beam:transform:redistribute_by_key:v1"
	RedistributeArbitrarily        = "beam:transform:redistribute_arbitrarily:v1"
	WriteFiles                     = "beam:transform:write_files:v1"
	PubSubRead                     = "beam:transform:pubsub_read:v1"
	PubSubWrite                    = "beam:transform:pubsub_write:v1"
	PubSubWriteV2                  = "beam:transform:pubsub_write:v2"
	GroupIntoBatches               = "beam:transform:group_into_batches:v1"
	GroupIntoBatchesWithShardedKey = "beam:transform:group_into_batches_with_sharded_key:v1"
	GenericComposite               = "beam:transform:generic_composite:v1"
	ExecutableStage                = "beam:runner:executable_stage:v1"
	CombinePerKeyPrecombine        = "beam:transform:combine_per_key_precombine:v1"
	CombinePerKeyMergeAccumulators = "beam:transform:combine_per_key_merge_accumulators:v1"
	CombinePerKeyExtractOutputs    = "beam:transform:combine_per_key_extract_outputs:v1"
	CombinePerKeyConvertToAccums   = "beam:transform:combine_per_key_convert_to_accumulators:v1"
	CombineGroupedValues           = "beam:transform:combine_grouped_values:v1"
	SDFPairWithRestriction         = "beam:transform:sdf_pair_with_restriction:v1"
	SDFSplitAndSizeRestrictions    = "beam:transform:sdf_split_and_size_restrictions:v1"
	SDFProcessSizedElements        = "beam:transform:sdf_process_sized_element_and_restrictions:v1"
	SDFTruncateSizedRestrictions   = "beam:transform:sdf_truncate_sized_restrictions:v1"
)

// Transforms that a runner adds to a process bundle descriptor.
const (
	DataSource = "beam:runner:source:v1"
	DataSink   = "beam:runner:sink:v1"
	// Source and Sink are short for them.
	Source = DataSource
	Sink   = DataSink
)

// Window functions.
const (
	GlobalWindows  = "beam:window_fn:global_windows:v1"
	FixedWindows   = "beam:window_fn:fixed_windows:v1"
	SlidingWindows = "beam:window_fn:sliding_windows:v1"
	SessionWindows = "beam:window_fn:session_windows:v1"
)

// Access patterns of side inputs.
const (
	SideInputIterable = "beam:side_input:iterable:v1"
	SideInputMultimap = "beam:side_input:multimap:v1"
)

// Protocols of user state.
const (
	StateBag         = "beam:user_state:bag:v1"
	StateMultimap    = "beam:user_state:multimap:v1"
	StateOrderedList = "beam:user_state:ordered_list:v1"
)
