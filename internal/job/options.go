package job

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

// Bounds of what a job may ask for itself.
const (
	maxMaxAttempts           = 100
	maxWorkersPerEnvironment = 256
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
)

// settings are what a job's pipeline options say to the runner; zero where
// they say nothing.
type settings struct {
	maxAttempts           int
	workersPerEnvironment int
	streaming             bool
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
	option := func(name string) *structpb.Value { return options.GetFields()["beam:option:"+name+":v1"] }
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
	} {
		n, ok := intOption(option(o.name))
		if !ok || n < 0 || n > o.max {
			bad = append(bad, fmt.Sprintf("pipeline option %s is not a number from 1 to %d", o.name, o.max))
			continue
		}
		*o.to = n
	}
	if bad != nil {
		return settings{}, &pipeline.Rejection{Reasons: bad}
	}
	return s, nil
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
