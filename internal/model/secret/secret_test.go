package secret

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

func options(t *testing.T) *structpb.Struct {
	t.Helper()
	o, err := structpb.NewStruct(map[string]any{
		"beam:option:db_password:v1":   "hunter2",
		"beam:option:api_key:v1":       "hunter2-longer",
		"beam:option:sasl_token:v1":    nil,
		"beam:option:awsSecretKey:v1":  []any{"a-list", map[string]any{"of": "values"}},
		"beam:option:job_name:v1":      "wordcount",
		"beam:option:connection:v1":    map[string]any{"user": "me", "passwd": "inner-pw"},
		"beam:option:pin_token:v1":     "abc",
		"beam:option:max_attempts:v1":  4.0,
		"beam:option:sinks_configs:v1": []any{map[string]any{"accessKey": "in-a-list"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOptionsAreMasked(t *testing.T) {
	o := options(t)
	before := proto.Clone(o)
	got := Options(o).AsMap()
	if !proto.Equal(o, before) {
		t.Error("the options themselves have changed")
	}
	for _, name := range []string{"db_password", "api_key", "awsSecretKey", "pin_token"} {
		if v := got["beam:option:"+name+":v1"]; v != Mask {
			t.Errorf("%s is %v", name, v)
		}
	}
	if v := got["beam:option:sasl_token:v1"]; v != nil {
		t.Errorf("nothing is masked as %v", v)
	}
	inner := got["beam:option:connection:v1"].(map[string]any)
	listed := got["beam:option:sinks_configs:v1"].([]any)[0].(map[string]any)
	if inner["passwd"] != Mask || inner["user"] != "me" || listed["accessKey"] != Mask {
		t.Errorf("inside others: %v, %v", inner, listed)
	}
	if got["beam:option:job_name:v1"] != "wordcount" || got["beam:option:max_attempts:v1"] != 4.0 {
		t.Errorf("others are not as they were: %v", got)
	}
	if Options(nil) != nil {
		t.Error("no options became some")
	}
}

func TestReplacer(t *testing.T) {
	r := Replacer(options(t))
	text := "Pipeline_options: {'db_password': 'hunter2', 'api_key': 'hunter2-longer', 'x': ['a-list', 'values', 'inner-pw', 'in-a-list'], 'pin': 'abc', 'me'}"
	want := "Pipeline_options: {'db_password': '********', 'api_key': '********', 'x': ['********', '********', '********', '********'], 'pin': 'abc', 'me'}"
	if got := r.Replace(text); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := Replacer(nil).Replace(text); got != text {
		t.Errorf("without options: %s", got)
	}
}
