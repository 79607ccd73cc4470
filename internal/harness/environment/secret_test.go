package environment

import (
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/secret"
)

func TestSecretsAreHidden(t *testing.T) {
	o, err := structpb.NewStruct(map[string]any{"beam:option:db_password:v1": "hunter22", "beam:option:runner:v1": "Portable"})
	if err != nil {
		t.Fatal(err)
	}
	srv := fnapi.NewServer(fnapi.Options{})
	h := srv.Expect(fnapi.WorkerConfig{ID: "python-0123456789", Endpoint: "x:1"})
	defer h.Close(nil)
	p := &Pool{opts: Options{PipelineOptions: o, Artifacts: Artifacts{Token: "token-of-artifacts"}}}
	got := p.secrets(h).hide("id python-0123456789 password hunter22 Portable token-of-artifacts")
	if want := "id " + secret.Mask + " password " + secret.Mask + " Portable " + secret.Mask; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
