package urn

// Standard coders.
const (
	CoderBytes               = "beam:coder:bytes:v1"
	CoderStringUTF8          = "beam:coder:string_utf8:v1"
	CoderBool                = "beam:coder:bool:v1"
	CoderVarint              = "beam:coder:varint:v1"
	CoderDouble              = "beam:coder:double:v1"
	CoderKV                  = "beam:coder:kv:v1"
	CoderIterable            = "beam:coder:iterable:v1"
	CoderStateBackedIterable = "beam:coder:state_backed_iterable:v1"
	CoderLengthPrefix        = "beam:coder:length_prefix:v1"
	CoderTimer               = "beam:coder:timer:v1"
	CoderWindowedValue       = "beam:coder:windowed_value:v1"
	CoderParamWindowedValue  = "beam:coder:param_windowed_value:v1"
	CoderGlobalWindow        = "beam:coder:global_window:v1"
	CoderIntervalWindow      = "beam:coder:interval_window:v1"
	CoderCustomWindow        = "beam:coder:custom_window:v1"
	CoderRow                 = "beam:coder:row:v1"
	CoderShardedKey          = "beam:coder:sharded_key:v1"
	CoderNullable            = "beam:coder:nullable:v1"
)

// Logical types of schemas whose encoding, or lack of a portable one, a runner
// has to know.
const (
	LogicalMillisInstant = "beam:logical_type:millis_instant:v1"
	LogicalMicrosInstant = "beam:logical_type:micros_instant:v1"
	LogicalDecimal       = "beam:logical_type:decimal:v1"
	// LogicalPythonAny is encoded with Python's own object coder, whatever its
	// representation says.
	LogicalPythonAny = "beam:logical:pythonsdk_any:v1"
)
