package urn

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// notInProtos are URNs that SDKs use and Beam's protos do not have.
var notInProtos = map[string]bool{GenericComposite: true, ExecutableStage: true, LogicalPythonAny: true}

// protoNames collects the URNs and labels of all enum values of Beam's protos.
func protoNames() map[string]bool {
	names := map[string]bool{}
	enums := func(es protoreflect.EnumDescriptors) {
		for i := range es.Len() {
			for j := range es.Get(i).Values().Len() {
				o := es.Get(i).Values().Get(j).Options()
				names[proto.GetExtension(o, pipepb.E_BeamUrn).(string)] = true
				names[proto.GetExtension(o, pipepb.E_MonitoringInfoSpec).(*pipepb.MonitoringInfoSpec).GetUrn()] = true
				names[proto.GetExtension(o, pipepb.E_LabelProps).(*pipepb.MonitoringInfoLabelProps).GetName()] = true
			}
		}
	}
	var walk func(protoreflect.MessageDescriptors)
	walk = func(ms protoreflect.MessageDescriptors) {
		for i := range ms.Len() {
			enums(ms.Get(i).Enums())
			walk(ms.Get(i).Messages())
		}
	}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(f.Package()), "org.apache.beam.") {
			enums(f.Enums())
			walk(f.Messages())
		}
		return true
	})
	return names
}

// Every constant is a URN or label of Beam's protos, with no typing error, and
// there is a constant for everything that a runner can be asked for.
func TestNamesAreBeams(t *testing.T) {
	protos, ours := protoNames(), constants(t)
	if len(ours) < 100 {
		t.Fatalf("only %d constants found", len(ours))
	}
	for name, value := range ours {
		if !protos[value] && !notInProtos[value] {
			t.Errorf("%s = %q is not in Beam's protos", name, value)
		}
	}
	have := map[string]bool{}
	for _, v := range ours {
		have[v] = true
	}
	for value := range protos {
		for _, family := range []string{
			"beam:coder:", "beam:transform:", "beam:requirement:", "beam:protocol:", "beam:side_input:", "beam:user_state:",
			"beam:env:", "beam:window_fn:", "beam:artifact:", "beam:metrics:", "beam:metric:", "beam:runner:", "beam:resources:",
		} {
			if strings.HasPrefix(value, family) && !have[value] {
				t.Errorf("%s has no constant", value)
			}
		}
	}
}

// constants reads the constants of this package from its source.
func constants(t *testing.T) map[string]string {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		src, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(src, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
					v, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					found[spec.Names[0].Name] = v
				}
			}
			return true
		})
	}
	return found
}
