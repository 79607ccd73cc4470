package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/pharos-beam/pharos/internal/plan"
	"github.com/pharos-beam/pharos/internal/plan/pipeline"
	"github.com/pharos-beam/pharos/internal/server/api"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

type planCmd struct {
	Source string `arg:"" name:"file-or-job" help:"A file with a pipeline proto (.json, .textproto, otherwise binary), or a job id."`
	clientFlags
	outputFlags
}

// Help is the long help.
func (*planCmd) Help() string {
	return `Prints the stages into which the pipeline is fused, and why each starts where it does. A file needs no server.

Example:

    pharos plan pipeline.pb`
}

// Run prints a plan.
func (c *planCmd) Run(env *Env) error {
	v, err := c.view()
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, v)
	}
	return v.WriteText(env.Stdout)
}

func (c *planCmd) view() (api.PlanView, error) {
	b, err := os.ReadFile(c.Source)
	if errors.Is(err, fs.ErrNotExist) {
		var v api.PlanView
		err := newClient(c.Server).get(context.Background(), jobPath(c.Source, "/plan"), &v)
		if err != nil {
			return v, fmt.Errorf("%s is no file; as a job: %w", c.Source, err)
		}
		return v, nil
	}
	if err != nil {
		return api.PlanView{}, err
	}
	return planFile(c.Source, b)
}

func planFile(name string, b []byte) (api.PlanView, error) {
	var p pipepb.Pipeline
	if err := decodePipeline(name, b, &p); err != nil {
		return api.PlanView{}, fmt.Errorf("%s is no pipeline proto: %w", name, err)
	}
	valid, err := pipeline.Validate(&p)
	if err != nil {
		return api.PlanView{}, err
	}
	built, err := plan.Build(valid, plan.Options{})
	if err != nil {
		return api.PlanView{}, err
	}
	return api.NewPlanView(built), nil
}

func decodePipeline(name string, b []byte, p *pipepb.Pipeline) error {
	switch filepath.Ext(name) {
	case ".json":
		return protojson.Unmarshal(b, p)
	case ".textproto", ".txtpb", ".pbtxt", ".prototext":
		return prototext.Unmarshal(b, p)
	}
	return proto.Unmarshal(b, p)
}
