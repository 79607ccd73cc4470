package failpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestProcessDiesAtTheCountedHit(t *testing.T) {
	died := 0
	defer func(k func()) { kill = k; armed.Store(nil) }(kill)
	kill = func() { died++ }
	Hit(Apply)
	if err := Arm("apply:3"); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 5; i++ {
		Hit(Applied)
		Hit(Apply)
		if want := i >= 3; (died == 1) != want {
			t.Errorf("after %d hits it has died %d times", i, died)
		}
	}
}

// kill is the real one: no deferred call runs, no exit status is chosen.
func TestKillIsNotAnExit(t *testing.T) {
	if os.Getenv(Variable) != "" {
		if err := Arm(os.Getenv(Variable)); err != nil {
			t.Fatal(err)
		}
		Hit(Drop)
		t.Fatal("still alive")
	}
	cmd := exec.Command(os.Args[0], "-test.run", t.Name())
	cmd.Env = append(os.Environ(), Variable+"=drop:1")
	if err := cmd.Run(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the process ended with %v, not by SIGKILL", err)
	}
}

func TestSpecsAreChecked(t *testing.T) {
	for _, spec := range []string{"apply", "apply:", "apply:0", "apply:-1", "apply:x", "nothing:1", ":1", "apply:1:2"} {
		if Arm(spec) == nil {
			t.Errorf("%q is accepted", spec)
		}
	}
	if Arm("") != nil || armed.Load() != nil {
		t.Error("an empty spec arms something")
	}
}

// Every place is in the list, is hit somewhere, and is in the documentation.
func TestEveryPlaceIsUsedAndDocumented(t *testing.T) {
	names := constants(t)
	if len(names) != len(Names()) {
		t.Errorf("there are %d constants and %d names", len(names), len(Names()))
	}
	doc, err := os.ReadFile("../../docs/durability.md")
	if err != nil {
		t.Fatal(err)
	}
	used := sources(t)
	for ident, value := range names {
		if !strings.Contains(used, "failpoint.Hit(failpoint."+ident+")") {
			t.Errorf("%s is hit nowhere", ident)
		}
		if !strings.Contains(string(doc), "| `"+value+"` |") {
			t.Errorf("%s is not in docs/durability.md", value)
		}
	}
}

// constants are the names of this package, by identifier.
func constants(t *testing.T) map[string]string {
	f, err := parser.ParseFile(token.NewFileSet(), "failpoint.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Name" {
				names[v.Names[0].Name] = strings.Trim(v.Values[0].(*ast.BasicLit).Value, `"`)
			}
		}
		return true
	})
	return names
}

// sources is the code of the packages that hit failpoints.
func sources(t *testing.T) string {
	files, err := filepath.Glob("../job/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
