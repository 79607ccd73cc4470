package environment

import (
	"reflect"
	"runtime"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// env makes an environment.
func env(t testing.TB, typ string, payload proto.Message, capabilities ...string) *pipepb.Environment {
	t.Helper()
	b, err := proto.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return &pipepb.Environment{Urn: typ, Payload: b, Capabilities: capabilities}
}

func dockerEnv(t testing.TB, image string, capabilities ...string) *pipepb.Environment {
	return env(t, urn.EnvDocker, &pipepb.DockerPayload{ContainerImage: image}, capabilities...)
}

func externalEnv(t testing.TB, url string, capabilities ...string) *pipepb.Environment {
	return env(t, urn.EnvExternal, &pipepb.ExternalPayload{Endpoint: &pipepb.ApiServiceDescriptor{Url: url}, Params: map[string]string{"p": "q"}}, capabilities...)
}

func processEnv(t testing.TB, p *pipepb.ProcessPayload, capabilities ...string) *pipepb.Environment {
	return env(t, urn.EnvProcess, p, capabilities...)
}

func TestResolve(t *testing.T) {
	const python = "beam:version:sdk_base:apache/beam_python3.11_sdk:2.77.0"
	pyDocker := dockerEnv(t, "registry.example/apache/beam_python3.11_sdk:2.77.0", python)
	javaDocker := dockerEnv(t, "apache/beam_java17_sdk:2.77.0")
	loopback := externalEnv(t, "localhost:5", python)
	anyOf := func(e ...*pipepb.Environment) *pipepb.Environment {
		return env(t, urn.EnvAnyOf, &pipepb.AnyOfEnvironmentPayload{Environments: e})
	}
	deep := anyOf()
	for range 20 {
		deep = anyOf(deep)
	}
	for name, c := range map[string]struct {
		id        string
		env       *pipepb.Environment
		overrides map[string]string
		want      string // of the target
		err       string
	}{
		"loopback":                       {env: loopback, want: "python, external localhost:5"},
		"language leaves loopback alone": {env: loopback, overrides: map[string]string{"python": "process:/x"}, want: "python, external localhost:5"},
		"loopback overridden":            {env: loopback, overrides: map[string]string{"loopback": "process:/x a"}, want: "python, process /x a"},
		"id":                             {id: "e1", env: loopback, overrides: map[string]string{"e1": "external:h:1", "loopback": "process:/x"}, want: "python, external h:1"},
		"docker":                         {env: pyDocker, want: "python, docker registry.example/apache/beam_python3.11_sdk:2.77.0"},
		"docker without image":           {env: dockerEnv(t, ""), err: "no image"},
		"docker by language":             {env: pyDocker, overrides: map[string]string{"java": "process:/j", "python": "process:/p"}, want: "python, process /p"},
		"docker by image":                {env: pyDocker, overrides: map[string]string{"python": "process:/p", "*": "process:/z", "*/beam_python*": "external:h:1"}, want: "python, external h:1"},
		"docker by docker":               {env: javaDocker, overrides: map[string]string{"docker": "process:/d", "python": "process:/p"}, want: "java, process /d"},
		"docker to docker":               {env: javaDocker, overrides: map[string]string{"java": "docker:other"}, want: "java, docker other"},
		"image by pattern":               {env: javaDocker, overrides: map[string]string{"apache/beam_java*": "docker:mirror.example/java:1"}, want: "java, docker mirror.example/java:1"},
		"any of":                         {env: anyOf(pyDocker, loopback), want: "python, external localhost:5"},
		"any of, with help":              {env: anyOf(javaDocker), overrides: map[string]string{"java": "process:/j"}, want: "java, process /j"},
		"any of, first error":            {env: anyOf(dockerEnv(t, ""), &pipepb.Environment{}), err: "none of 2 alternatives can run"},
		"any of, docker":                 {env: anyOf(javaDocker, pyDocker), want: "java, docker apache/beam_java17_sdk:2.77.0"},
		"any of nothing":                 {env: anyOf(), err: "no alternatives"},
		"any of, too deep":               {env: deep, err: "too deep"},
		"process":                        {env: processEnv(t, &pipepb.ProcessPayload{Command: "/boot", Os: runtime.GOOS, Arch: runtime.GOARCH}), want: "process /boot"},
		"process for another machine":    {env: processEnv(t, &pipepb.ProcessPayload{Command: "/boot", Os: "plan9"}), err: "plan9"},
		"process without command":        {env: processEnv(t, &pipepb.ProcessPayload{}), err: "no command"},
		"external without endpoint":      {env: env(t, urn.EnvExternal, &pipepb.ExternalPayload{}), err: "no endpoint"},
		"authentication": {env: env(t, urn.EnvExternal, &pipepb.ExternalPayload{Endpoint: &pipepb.ApiServiceDescriptor{
			Url: "x", Authentication: &pipepb.AuthenticationSpec{Urn: "oauth"}}}), err: `"oauth"`},
		"default":         {env: &pipepb.Environment{Urn: urn.EnvDefault}, err: "default one"},
		"unknown":         {env: &pipepb.Environment{Urn: "beam:env:embedded_python:v1"}, err: "embedded_python"},
		"unknown by lang": {env: &pipepb.Environment{Urn: "beam:env:embedded_python:v1"}, overrides: map[string]string{"python": "process:/p"}, want: "python, process /p"},
		"nil":             {env: nil, err: "default one"},
		"bad payload":     {env: &pipepb.Environment{Urn: urn.EnvExternal, Payload: []byte{0xff}}, err: "external environment"},
		"bad override":    {env: pyDocker, overrides: map[string]string{"python": "nonsense"}, err: "not of the form"},
		"bad kind":        {env: pyDocker, overrides: map[string]string{"python": "podman:x"}, err: "podman"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ResolveID(c.id, c.env, c.overrides)
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, want %q in it", err, c.err)
			case c.err != "" && strings.Contains(err.Error(), "\n"):
				t.Errorf("error of several lines: %v", err)
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err == "" && got.String() != c.want:
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func TestOverrideVariables(t *testing.T) {
	e, err := Resolve(dockerEnv(t, "apache/beam_go_sdk:1"), map[string]string{"go": "process:A=1 B=x=y /boot --flag=1 z"})
	if err != nil {
		t.Fatal(err)
	}
	if e.Command != "/boot --flag=1 z" || !reflect.DeepEqual(e.Vars, map[string]string{"A": "1", "B": "x=y"}) {
		t.Errorf("command %q, vars %v", e.Command, e.Vars)
	}
	for _, bad := range []string{"", "process", "process:", "process:A=1", "vm:x"} {
		if CheckOverride("python", bad) == nil {
			t.Errorf("override %q is accepted", bad)
		}
	}
	if CheckOverride("[", "process:x") == nil || CheckOverride("", "process:x") == nil {
		t.Error("bad keys are accepted")
	}
}

func TestSplitCommand(t *testing.T) {
	for in, want := range map[string][]string{
		"a b  c":           {"a", "b", "c"},
		`'a b' "c d"\ e`:   {"a b", "c d e"},
		`a '' "x\"y" 'z\'`: {"a", "", `x"y`, `z\`},
	} {
		got, err := splitCommand(in)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "  ", `"x`, `x\`} {
		if got, err := splitCommand(in); err == nil {
			t.Errorf("%s: %q", in, got)
		}
	}
}

func TestLanguageOf(t *testing.T) {
	for image, want := range map[string]Language{
		"apache/beam_python3.11_sdk:2.77.0": Python,
		"apache/beam_java17_sdk:2.77.0":     Java,
		"apache/beam_go_sdk:2.77.0":         Go,
		"apache/beam_typescript_sdk:2.77.0": TypeScript,
		"mycompany/golem:1":                 Unknown,
		"mycompany/javascript:1":            TypeScript,
		"":                                  Unknown,
	} {
		if got := LanguageOf(dockerEnv(t, image)); got != want {
			t.Errorf("image %s: %q, want %q", image, got, want)
		}
		if image == "" {
			continue
		}
		if got := LanguageOf(externalEnv(t, "x:1", "beam:version:sdk_base:"+image)); got != want {
			t.Errorf("label %s: %q, want %q", image, got, want)
		}
	}
	if got := LanguageOf(externalEnv(t, "x:1", "beam:version:sdk_base:go:apache/beam_go_sdk:2.77.0")); got != Go {
		t.Errorf("Go's label: %q", got)
	}
	if got := LanguageOf(externalEnv(t, "x:1", "beam:coder:interval_window:v1", urn.ProtocolSiblingWorkers)); got != TypeScript {
		t.Errorf("TypeScript without a label: %q", got)
	}
	if tr := traitsOf(TypeScript); !tr.SingleMessage || tr.MaxMessageBytes == 0 {
		t.Errorf("traits %+v", tr)
	}
}
