package scrape

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Labels. None is called "job" or "instance": Prometheus has these for what it
// scrapes, and would rename ours.
const (
	labelJob         = "job_id"
	labelName        = "job_name"
	labelTransform   = "transform"
	labelPCollection = "pcollection"
	labelEnvironment = "environment"
	labelStage       = "stage"
	labelState       = "state"
	labelNamespace   = "metric_namespace"
	labelMetric      = "metric_name"
)

// family describes metrics of one name; labels come in the order given.
func family(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// ofJob is a family with a job's labels first.
func ofJob(name, help string, labels ...string) *prometheus.Desc {
	return family(name, help, append([]string{labelJob, labelName}, labels...)...)
}

// The runner as a whole.
var (
	buildInfo       = family("pharos_build_info", "The version of the runner; always 1.", "version")
	jobsByState     = family("pharos_jobs", "Jobs that the runner remembers.", labelState)
	workers         = family("pharos_workers", "SDK workers that are expected or connected.")
	spoolRAM        = family("pharos_spool_ram_bytes", "Element data in RAM.")
	spoolRAMLimit   = family("pharos_spool_ram_limit_bytes", "Element data that may be in RAM.")
	spoolDisk       = family("pharos_spool_disk_bytes", "Size of the files with element data.")
	spoolDead       = family("pharos_spool_dead_bytes", "Part of pharos_spool_disk_bytes that is consumed and waits for its removal.")
	spoolBlocks     = family("pharos_spool_blocks", "Blocks of elements that are kept.")
	spoolSegments   = family("pharos_spool_segments", "Files with element data.")
	storeDisk       = family("pharos_store_disk_bytes", "Size of the files of the store, with --data.")
	storeApplied    = family("pharos_store_applied_bytes_total", "Changes that the store was given, with --data.")
	storeWritten    = family("pharos_store_written_bytes_total", "What the store wrote for them, with --data.")
	logBytes        = family("pharos_log_bytes", "Logs of workers that are kept.")
	logLost         = family("pharos_log_lost_lines_total", "Log lines that were not kept: too long, or too many for the disk.")
	omittedJobs     = family("pharos_scrape_omitted_jobs", "Jobs that this page leaves out.")
	omittedSeries   = family("pharos_scrape_omitted_series", "Series that this page leaves out because their job has too many, or one with the same labels.")
	jobCreated      = ofJob("pharos_job_created_seconds", "When the job was prepared, in Unix seconds.")
	jobState        = ofJob("pharos_job_state", "1 for the state that the job is in.", labelState)
	jobWorkers      = ofJob("pharos_job_workers", "Live SDK workers of the job.", labelEnvironment)
	jobAttempts     = ofJob("pharos_job_attempt_seconds", "How long attempts of bundles took.")
	jobCommits      = ofJob("pharos_job_commit_seconds", "How long bundles that had ended waited until their effects were in the store.")
	stageBundles    = ofStage("pharos_stage_bundles_total", "Bundles that are committed.")
	stageFailed     = ofStage("pharos_stage_failed_attempts_total", "Attempts of bundles that failed.")
	stageInFlight   = ofStage("pharos_stage_in_flight_bundles", "Bundles that run, or wait for their commit.")
	stageBacklog    = ofStage("pharos_stage_backlog_elements", "Elements that wait for a bundle.")
	stageBacklogLen = ofStage("pharos_stage_backlog_bytes", "Bytes of elements that wait for a bundle.")
	stageIn         = ofStage("pharos_stage_input_elements_total", "Elements that committed bundles took.")
	stageOut        = ofStage("pharos_stage_output_elements_total", "Elements that committed bundles put out.")
	stageInputMark  = ofStage("pharos_stage_input_watermark_seconds", "Watermark of the input, in Unix seconds; -Inf before the first, +Inf after the last element.")
	stageMark       = ofStage("pharos_stage_output_watermark_seconds", "Watermark of the output.")
	stageLag        = ofStage("pharos_stage_watermark_lag_seconds", "How far the watermark of the output is behind the clock; no sample while it is at an end of time.")
)

// ofStage is a family with a series for each stage of a job. Its transform is
// the stage's name.
func ofStage(name, help string) *prometheus.Desc {
	return ofJob(name, help, labelStage, labelTransform)
}

// beam is what a metric of Beam's becomes: a counter, or a summary with a
// minimum and a maximum beside it.
type beam struct {
	desc, min, max *prometheus.Desc
	kind           prometheus.ValueType
	labels         []string // of the monitoring info, behind those of the job
}

func beamCounter(name, help string, labels ...string) beam {
	return beam{desc: ofJob(name, help, promLabels(labels)...), kind: prometheus.CounterValue, labels: labels}
}

func beamGauge(name, help string, labels ...string) beam {
	return beam{desc: ofJob(name, help, promLabels(labels)...), kind: prometheus.GaugeValue, labels: labels}
}

func beamDistribution(name, help string, labels ...string) beam {
	names := promLabels(labels)
	return beam{
		desc: ofJob(name, help, names...), labels: labels,
		min: ofJob(name+"_min", help+" The smallest.", names...), max: ofJob(name+"_max", help+" The largest.", names...),
	}
}

// promLabels are the names of Beam's labels on the page.
func promLabels(labels []string) []string {
	names := map[string]string{
		urn.LabelPTransform: labelTransform, urn.LabelPCollection: labelPCollection,
		urn.LabelNamespace: labelNamespace, urn.LabelName: labelMetric,
	}
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = names[l]
	}
	return out
}

var userLabels = []string{urn.LabelPTransform, urn.LabelNamespace, urn.LabelName}

var (
	userCounter      = beamCounter("beam_user_counter_total", "A counter of the pipeline's own.", userLabels...)
	userGauge        = beamGauge("beam_user_gauge", "A gauge of the pipeline's own.", userLabels...)
	userDistribution = beamDistribution("beam_user_distribution", "A distribution of the pipeline's own.", userLabels...)
)

// beams are the metrics of Beam's that are shown, by URN; the names of system
// metrics are those of their URNs.
var beams = map[string]beam{
	urn.MetricUserSumInt64:           userCounter,
	urn.MetricUserSumDouble:          userCounter,
	urn.MetricUserLatestInt64:        userGauge,
	urn.MetricUserLatestDouble:       userGauge,
	urn.MetricUserDistributionInt64:  userDistribution,
	urn.MetricUserDistributionDouble: userDistribution,

	urn.MetricElementCount:     beamCounter("beam_element_count_total", "Elements of a PCollection.", urn.LabelPCollection),
	urn.MetricSampledByteSize:  beamDistribution("beam_sampled_byte_size", "Encoded sizes of some elements of a PCollection.", urn.LabelPCollection),
	urn.MetricStartBundleMsecs: beamCounter("beam_pardo_execution_time_start_bundle_msecs_total", "Time in start_bundle.", urn.LabelPTransform),
	urn.MetricProcessBundleMsecs: beamCounter("beam_pardo_execution_time_process_bundle_msecs_total",
		"Time in the processing of elements.", urn.LabelPTransform),
	urn.MetricFinishBundleMsecs: beamCounter("beam_pardo_execution_time_finish_bundle_msecs_total", "Time in finish_bundle.", urn.LabelPTransform),
	urn.MetricTotalMsecs:        beamCounter("beam_ptransform_execution_time_total_msecs_total", "Time in a transform in all.", urn.LabelPTransform),
}
