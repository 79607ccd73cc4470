package job

import (
	"errors"
	"reflect"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/plan/pipeline"
)

func TestReadSettings(t *testing.T) {
	for _, c := range []struct {
		options map[string]any
		want    settings
		bad     int
	}{
		{nil, settings{}, 0},
		{map[string]any{"beam:option:max_attempts:v1": "2", "beam:option:other:v1": true}, settings{maxAttempts: 2}, 0},
		{map[string]any{"beam:option:max_attempts:v1": 0, "beam:option:max_bundle_size:v1": "0"}, settings{}, 0},
		{map[string]any{"beam:option:workers_per_environment:v1": 3, "beam:option:max_attempts:v1": nil}, settings{workersPerEnvironment: 3}, 0},
		{map[string]any{"beam:option:streaming:v1": true}, settings{streaming: true}, 0},
		{map[string]any{"beam:option:streaming:v1": "true"}, settings{streaming: true}, 0},
		{map[string]any{"beam:option:streaming:v1": "maybe"}, settings{}, 0},
		{map[string]any{"beam:option:workers_per_environment:v1": 1.5, "beam:option:max_attempts:v1": "many"}, settings{}, 2},
		{map[string]any{"beam:option:workers_per_environment:v1": 1e9, "beam:option:max_attempts:v1": -1}, settings{}, 2},
	} {
		options, err := structpb.NewStruct(c.options)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readSettings(options)
		var r *pipeline.Rejection
		if errors.As(err, &r) != (c.bad > 0) || r != nil && len(r.Reasons) != c.bad || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %v, %v", c.options, got, err)
		}
	}
}
