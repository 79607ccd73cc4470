package job

import (
	"fmt"
	"math"
	"strconv"

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
)

// settings are what a job's pipeline options say to the runner; zero where
// they say nothing.
type settings struct {
	maxAttempts           int
	workersPerEnvironment int
	streaming             bool
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
	}
}

// readSettings reads a job's options. What is wrong with them is a
// *pipeline.Rejection.
func readSettings(options *structpb.Struct) (settings, error) {
	s := settings{streaming: boolOption(options.GetFields()["beam:option:"+optionStreaming+":v1"])}
	var bad []string
	for _, o := range []struct {
		name string
		max  int
		to   *int
	}{
		{optionMaxAttempts, maxMaxAttempts, &s.maxAttempts},
		{optionWorkers, maxWorkersPerEnvironment, &s.workersPerEnvironment},
	} {
		n, ok := intOption(options.GetFields()["beam:option:"+o.name+":v1"])
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
