package urn

// Types of monitoring infos: how the payload is encoded and how two are merged.
const (
	TypeSumInt64           = "beam:metrics:sum_int64:v1"
	TypeSumDouble          = "beam:metrics:sum_double:v1"
	TypeDistributionInt64  = "beam:metrics:distribution_int64:v1"
	TypeDistributionDouble = "beam:metrics:distribution_double:v1"
	TypeLatestInt64        = "beam:metrics:latest_int64:v1"
	TypeLatestDouble       = "beam:metrics:latest_double:v1"
	TypeTopNInt64          = "beam:metrics:top_n_int64:v1"
	TypeTopNDouble         = "beam:metrics:top_n_double:v1"
	TypeBottomNInt64       = "beam:metrics:bottom_n_int64:v1"
	TypeBottomNDouble      = "beam:metrics:bottom_n_double:v1"
	TypeProgress           = "beam:metrics:progress:v1"
	TypeSetString          = "beam:metrics:set_string:v1"
	TypeBoundedTrie        = "beam:metrics:bounded_trie:v1"
	TypeHistogramInt64     = "beam:metrics:histogram_int64:v1"
)

// Metrics of users.
const (
	MetricUserSumInt64           = "beam:metric:user:sum_int64:v1"
	MetricUserSumDouble          = "beam:metric:user:sum_double:v1"
	MetricUserDistributionInt64  = "beam:metric:user:distribution_int64:v1"
	MetricUserDistributionDouble = "beam:metric:user:distribution_double:v1"
	MetricUserLatestInt64        = "beam:metric:user:latest_int64:v1"
	MetricUserLatestDouble       = "beam:metric:user:latest_double:v1"
	MetricUserTopNInt64          = "beam:metric:user:top_n_int64:v1"
	MetricUserTopNDouble         = "beam:metric:user:top_n_double:v1"
	MetricUserBottomNInt64       = "beam:metric:user:bottom_n_int64:v1"
	MetricUserBottomNDouble      = "beam:metric:user:bottom_n_double:v1"
	MetricUserSetString          = "beam:metric:user:set_string:v1"
	MetricUserBoundedTrie        = "beam:metric:user:bounded_trie:v1"
	MetricUserHistogramInt64     = "beam:metric:user:histogram_int64:v1"
)

// Metrics of the system.
const (
	MetricElementCount         = "beam:metric:element_count:v1"
	MetricSampledByteSize      = "beam:metric:sampled_byte_size:v1"
	MetricStartBundleMsecs     = "beam:metric:pardo_execution_time:start_bundle_msecs:v1"
	MetricProcessBundleMsecs   = "beam:metric:pardo_execution_time:process_bundle_msecs:v1"
	MetricFinishBundleMsecs    = "beam:metric:pardo_execution_time:finish_bundle_msecs:v1"
	MetricTotalMsecs           = "beam:metric:ptransform_execution_time:total_msecs:v1"
	MetricWorkRemaining        = "beam:metric:ptransform_progress:remaining:v1"
	MetricWorkCompleted        = "beam:metric:ptransform_progress:completed:v1"
	MetricDataChannelReadIndex = "beam:metric:data_channel:read_index:v1"
	MetricAPIRequestCount      = "beam:metric:io:api_request_count:v1"
	MetricAPIRequestLatencies  = "beam:metric:io:api_request_latencies:v1"
)

// Labels of monitoring infos.
const (
	LabelPTransform  = "PTRANSFORM"
	LabelPCollection = "PCOLLECTION"
	LabelNamespace   = "NAMESPACE"
	LabelName        = "NAME"
	LabelEnvironment = "ENVIRONMENT"
)
