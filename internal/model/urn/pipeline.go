package urn

// Requirements of a pipeline.
const (
	RequirementStateful           = "beam:requirement:pardo:stateful:v1"
	RequirementBundleFinalization = "beam:requirement:pardo:finalization:v1"
	RequirementStableInput        = "beam:requirement:pardo:stable_input:v1"
	RequirementTimeSortedInput    = "beam:requirement:pardo:time_sorted_input:v1"
	RequirementSplittableDoFn     = "beam:requirement:pardo:splittable_dofn:v1"
	RequirementOnWindowExpiration = "beam:requirement:pardo:on_window_expiration:v1"
)

// Protocols: capabilities of an SDK's environment.
const (
	ProtocolLegacyProgressReporting         = "beam:protocol:progress_reporting:v0"
	ProtocolProgressReporting               = "beam:protocol:progress_reporting:v1"
	ProtocolWorkerStatus                    = "beam:protocol:worker_status:v1"
	ProtocolMultiCoreBundleProcessing       = "beam:protocol:multi_core_bundle_processing:v1"
	ProtocolSiblingWorkers                  = "beam:protocol:sibling_workers:v1"
	ProtocolHarnessMonitoringInfos          = "beam:protocol:harness_monitoring_infos:v1"
	ProtocolControlRequestElementsEmbedding = "beam:protocol:control_request_elements_embedding:v1"
	ProtocolStateCaching                    = "beam:protocol:state_caching:v1"
	ProtocolDataSampling                    = "beam:protocol:data_sampling:v1"
	ProtocolSDKConsumingReceivedData        = "beam:protocol:sdk_consuming_received_data:v1"
	ProtocolOrderedListState                = "beam:protocol:ordered_list_state:v1"
)

// Protocols: capabilities of a runner, named in the provision info.
const (
	ProtocolMonitoringInfoShortIDs           = "beam:protocol:monitoring_info_short_ids:v1"
	ProtocolControlResponseElementsEmbedding = "beam:protocol:control_response_elements_embedding:v1"
	ProtocolMultimapKeysValuesSideInput      = "beam:protocol:multimap_keys_values_side_input:v1"
)

// Environments.
const (
	EnvDocker   = "beam:env:docker:v1"
	EnvProcess  = "beam:env:process:v1"
	EnvExternal = "beam:env:external:v1"
	EnvDefault  = "beam:env:default:v1"
	EnvAnyOf    = "beam:env:anyof:v1"
)

// Artifact types and roles.
const (
	ArtifactFile                = "beam:artifact:type:file:v1"
	ArtifactURL                 = "beam:artifact:type:url:v1"
	ArtifactEmbedded            = "beam:artifact:type:embedded:v1"
	ArtifactPyPI                = "beam:artifact:type:pypi:v1"
	ArtifactMaven               = "beam:artifact:type:maven:v1"
	ArtifactDeferred            = "beam:artifact:type:deferred:v1"
	ArtifactRoleStagingTo       = "beam:artifact:role:staging_to:v1"
	ArtifactRolePipRequirements = "beam:artifact:role:pip_requirements_file:v1"
	ArtifactRoleGoWorkerBinary  = "beam:artifact:role:go_worker_binary:v1"
)

// Display data and resource hints.
const (
	DisplayDataLabelled         = "beam:display_data:labelled:v1"
	ResourceAccelerator         = "beam:resources:accelerator:v1"
	ResourceMinRAMBytes         = "beam:resources:min_ram_bytes:v1"
	ResourceCPUCount            = "beam:resources:cpu_count:v1"
	ResourceMaxBundlesPerWorker = "beam:resources:max_active_bundles_per_worker:v1"
)
