package job

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/engine/core"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// Bounds of what a job may ask for itself.
const (
	maxMaxAttempts           = 100
	maxWorkersPerEnvironment = 256
	maxNumber                = 1<<31 - 1
)

// Names of the pipeline options that the runner itself looks at.
const (
	optionMaxAttempts = "max_attempts"
	optionWorkers     = "workers_per_environment"
	optionStreaming   = "streaming"
	optionSnapshot    = "from_snapshot"
	optionLossy       = "allow_non_restored"
	optionShapesOnly  = "allow_changed_coders"
	optionRenamed     = "map_transforms"
	optionExperiments = "experiments"
	optionParallelism = "parallelism"
	optionSDKWorkers  = "sdk_worker_parallelism"
	optionBundleSize  = "max_bundle_size"
	optionBundleTime  = "max_bundle_time_mills"
)

// settings are what a job's pipeline options say to the runner; zero where
// they say nothing.
type settings struct {
	maxAttempts           int
	workersPerEnvironment int
	// parallelism is how many bundles run at a time in an environment, and
	// bundleElements and bundleMS how large they get.
	parallelism, bundleElements, bundleMS int
	streaming                             bool
	// The snapshot that the job begins from, see Origin.
	snapshot                             string
	allowNonRestored, allowChangedCoders bool
	renamed                              map[string]string
	sampling                             bool // workers keep some of the elements, to be shown
}

// DescribeOptions lists the pipeline options that the runner looks at. SDKs
// that ask for them (Python does) then accept them on the command line.
func DescribeOptions() []*jobpb.PipelineOptionDescriptor {
	const group = "pharos"
	return []*jobpb.PipelineOptionDescriptor{
		{
			Name: "job_name", Group: group, Type: jobpb.PipelineOptionType_STRING,
			Description: "Name of the job in lists; its id begins with it.",
		},
		{
			Name: optionMaxAttempts, Group: group, Type: jobpb.PipelineOptionType_INTEGER,
			Description: "How often a failing bundle is tried before the job fails. By default what the server was started with.",
		},
		{
			Name: optionWorkers, Group: group, Type: jobpb.PipelineOptionType_INTEGER,
			Description: "Workers for each environment of the job. By default what the server was started with.",
		},
		{
			Name: optionBundleSize, Group: group, Type: jobpb.PipelineOptionType_INTEGER,
			Description: "Elements in a bundle, about; as many as are processed in good time unless given.",
		},
		{
			Name: optionBundleTime, Group: group, Type: jobpb.PipelineOptionType_INTEGER,
			Description: "How long a bundle should take, in milliseconds, about.",
		},
		{
			Name: optionSnapshot, Group: group, Type: jobpb.PipelineOptionType_STRING,
			Description: "Name of a snapshot of the server: the job begins with the state of the job that it was taken of.",
		},
		{
			Name: optionLossy, Group: group, Type: jobpb.PipelineOptionType_BOOLEAN,
			Description: "Leave behind what of the snapshot has no place in the pipeline.",
		},
		{
			Name: optionShapesOnly, Group: group, Type: jobpb.PipelineOptionType_BOOLEAN,
			Description: "Take coders for the same whose code has changed since the snapshot.",
		},
		{
			Name: optionRenamed, Group: group, Type: jobpb.PipelineOptionType_STRING,
			Description: "New names of transforms since the snapshot, as a JSON object from old to new.",
		},
	}
}

// readSettings reads a job's options. What is wrong with them is a
// *pipeline.Rejection.
func readSettings(options *structpb.Struct) (settings, error) {
	option := func(name string) *structpb.Value { return findOption(options, name) }
	experiments := listOption(option(optionExperiments))
	s := settings{
		streaming: boolOption(option(optionStreaming)), snapshot: option(optionSnapshot).GetStringValue(),
		allowNonRestored: boolOption(option(optionLossy)), allowChangedCoders: boolOption(option(optionShapesOnly)),
	}
	s.sampling = slices.ContainsFunc(experiments, func(e string) bool {
		return e == "enable_data_sampling" || e == "enable_always_on_exception_sampling"
	})
	var bad []string
	var ok bool
	if s.renamed, ok = renamedOption(option(optionRenamed)); !ok {
		bad = append(bad, fmt.Sprintf("pipeline option %s is not a JSON object from old names to new ones", optionRenamed))
	}
	for _, o := range []struct {
		name string
		max  int
		to   *int
	}{
		{optionMaxAttempts, maxMaxAttempts, &s.maxAttempts},
		{optionWorkers, maxWorkersPerEnvironment, &s.workersPerEnvironment},
		{optionBundleSize, maxNumber, &s.bundleElements},
		{optionBundleTime, maxNumber, &s.bundleMS},
	} {
		n, ok := intOption(option(o.name)) // 0 is what typed options of SDKs hold that nobody has set
		if !ok || n < 0 || n > o.max {
			bad = append(bad, fmt.Sprintf("pipeline option %s is not a number from 1 to %d, or 0 for what holds without it", o.name, o.max))
			continue
		}
		*o.to = n
	}
	s.readBeams(option)
	if bad != nil {
		return settings{}, &pipeline.Rejection{Reasons: bad}
	}
	return s, nil
}

// readBeams reads options of Beam's that SDKs send when nobody has set them, too:
// what is out of bounds means that.
func (s *settings) readBeams(option func(string) *structpb.Value) {
	if n, ok := intOption(option(optionParallelism)); ok && n > 0 {
		s.parallelism = n
	}
	// One worker is what SDKs say by themselves.
	if n, ok := intOption(option(optionSDKWorkers)); ok && n > 1 && s.workersPerEnvironment == 0 {
		s.workersPerEnvironment = min(n, maxWorkersPerEnvironment)
	}
}

// shape applies what a job says about its bundles to what the runner would do.
func (s *settings) shape(cfg *core.Config) {
	if s.bundleElements > 0 {
		cfg.BundleElements = int64(s.bundleElements)
	}
	if s.bundleMS > 0 {
		cfg.BundleTargetMS, cfg.BundleMS = int64(s.bundleMS), int64(s.bundleMS)
	}
	if s.parallelism <= 0 {
		return
	}
	cfg.RunnerSlots = min(cfg.RunnerSlots, s.parallelism)
	for _, slots := range []map[string]int{cfg.Slots, cfg.ComputeSlots} {
		for env, n := range slots {
			slots[env] = min(n, s.parallelism)
		}
	}
}

// findOption finds an option. Go's SDK has those that it does not know itself in
// a map of their own, as texts.
func findOption(options *structpb.Struct, name string) *structpb.Value {
	if v, ok := options.GetFields()["beam:option:"+name+":v1"]; ok {
		return v
	}
	own := options.GetFields()["beam:option:go_options:v1"].GetStructValue().GetFields()["options"]
	return own.GetStructValue().GetFields()[name]
}

// boolOption reads what may be a string, too. It is an option of Beam's, and
// what is wrong with it is the SDK's business.
func boolOption(v *structpb.Value) bool {
	b, err := strconv.ParseBool(v.GetStringValue())
	return v.GetBoolValue() || err == nil && b
}

// listOption reads texts, which some SDKs write as one with commas.
func listOption(v *structpb.Value) (list []string) {
	if text := v.GetStringValue(); text != "" {
		return strings.Split(text, ",")
	}
	for _, e := range v.GetListValue().GetValues() {
		list = append(list, strings.Split(e.GetStringValue(), ",")...)
	}
	return list
}

// intOption reads a number, which some SDKs write as a string; 0 if there is
// none.
func intOption(v *structpb.Value) (n int, ok bool) {
	switch k := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return 0, true
	case *structpb.Value_StringValue:
		n, err := strconv.Atoi(k.StringValue)
		return n, err == nil
	case *structpb.Value_NumberValue:
		f := k.NumberValue
		return int(f), f == math.Trunc(f) && math.Abs(f) < 1<<31
	}
	return 0, false
}
