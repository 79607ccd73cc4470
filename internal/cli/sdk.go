package cli

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// sdk knows how one SDK's programs are told where to run their pipeline.
type sdk struct {
	name  string // of --sdk
	title string // in the welcome
	// recognises tells whether a command is a program of this SDK.
	recognises func(argv []string) bool
	flags      func(endpoint string) []string
	// runner are the flags of a program that has our package for its SDK.
	runner func(endpoint string) []string
	// environ are variables that the program needs, NAME=VALUE.
	environ func(endpoint string) []string
	// insert puts flags where the command takes them.
	insert func(argv, flags []string) []string
}

func noEnviron(string) []string { return nil }

// sdks in the order in which they try to recognise a command.
var sdks = []*sdk{
	{
		name: "python", title: "Python",
		recognises: isPython,
		flags: func(e string) []string {
			return []string{"--runner=PortableRunner", "--job_endpoint=" + e, "--environment_type=LOOPBACK"}
		},
		runner: func(e string) []string {
			return []string{"--runner=pharos_beam.PharosRunner", "--pharos_endpoint=" + e}
		},
		environ: noEnviron, insert: atEnd,
	},
	{
		name: "java", title: "Java",
		recognises: isJava,
		flags: func(e string) []string {
			return []string{"--runner=PortableRunner", "--jobEndpoint=" + e, "--defaultEnvironmentType=LOOPBACK"}
		},
		runner: func(e string) []string {
			return []string{"--runner=PharosRunner", "--pharosEndpoint=" + e}
		},
		environ: noEnviron, insert: insertJava,
	},
	{
		name: "go", title: "Go",
		recognises: isGo,
		flags: func(e string) []string {
			return []string{"--runner=universal", "--endpoint=" + e, "--environment_type=LOOPBACK"}
		},
		runner:  func(e string) []string { return []string{"--runner=pharos", "--endpoint=" + e} },
		environ: noEnviron, insert: insertGo,
	},
	{
		name: "node", title: "Node",
		recognises: isNode,
		flags: func(string) []string {
			return []string{"--runner=universal", "--environmentType=LOOPBACK"}
		},
		runner:  func(e string) []string { return []string{"--runner=pharos", "--pharosEndpoint=" + e} },
		environ: nodeEnviron, insert: insertNode,
	},
}

// nodeEnviron: the TypeScript SDK's universal runner starts a job server of its
// own, in Python, and offers no option against it, but it can be told that this
// service runs already.
func nodeEnviron(endpoint string) []string {
	b, _ := json.Marshal(map[string]string{"python:apache_beam.runners.portability.local_job_service_main": endpoint}) // strings always marshal
	return []string{"BEAM_SERVICE_OVERRIDES=" + string(b)}
}

// placeholder in a command stands for the job endpoint; a command that has one
// gets no flags.
const placeholder = "{endpoint}"

// prepared is a command that runs its pipeline on our endpoint.
type prepared struct {
	argv    []string
	environ []string // additional
}

// prepare adds an SDK's flags to a command. name is the SDK, or empty to
// recognise it. When overrides say where this SDK's code runs, it is not asked
// to run it itself.
func prepare(argv []string, name, endpoint string, overrides map[string]string) (*prepared, error) {
	if slices.ContainsFunc(argv, func(a string) bool { return strings.Contains(a, placeholder) }) {
		out := make([]string, len(argv))
		for i, a := range argv {
			out[i] = strings.ReplaceAll(a, placeholder, endpoint)
		}
		return &prepared{argv: out}, nil
	}
	s := find(argv, name)
	if s == nil {
		return nil, fmt.Errorf("cannot tell which SDK %q uses: say --sdk python, java, go or node, or put %s where the command takes the job endpoint", argv[0], placeholder)
	}
	flags := s.flags(endpoint)
	if s.overridden(overrides) {
		flags = slices.DeleteFunc(flags, func(f string) bool { return strings.HasSuffix(f, loopback) })
	}
	return &prepared{argv: s.insert(slices.Clone(argv), missing(argv, flags)), environ: s.environ(endpoint)}, nil
}

// loopback ends the flag by which a program offers to be its own worker.
const loopback = "=LOOPBACK"

// overridden says whether an override replaces the environment that the SDK
// gives its pipelines by default, a container.
func (s *sdk) overridden(overrides map[string]string) bool {
	language := s.name
	if language == "node" {
		language = "typescript"
	}
	return overrides[language] != "" || overrides["docker"] != ""
}

func find(argv []string, name string) *sdk {
	for _, s := range sdks {
		if s.name == name || name == "" && s.recognises(argv) {
			return s
		}
	}
	return nil
}

// missing leaves out the flags that the command has already: the user's wish
// comes first.
func missing(argv, flags []string) []string {
	var out []string
	for _, f := range flags {
		name, _, _ := strings.Cut(strings.TrimLeft(f, "-"), "=")
		given := slices.ContainsFunc(argv, func(a string) bool {
			have, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
			return strings.HasPrefix(a, "-") && have == name
		})
		if !given {
			out = append(out, f)
		}
	}
	return out
}

func program(argv []string) string { return strings.TrimSuffix(filepath.Base(argv[0]), ".exe") }

var pythonName = regexp.MustCompile(`^(python|pypy)[0-9.]*$`)

func isPython(argv []string) bool {
	return pythonName.MatchString(program(argv)) || strings.HasSuffix(argv[0], ".py") ||
		program(argv) == "uv" && len(argv) > 1 && argv[1] == "run"
}

func isJava(argv []string) bool {
	switch program(argv) {
	case "java", "mvn", "mvnw", "gradle", "gradlew":
		return true
	}
	return strings.HasSuffix(argv[0], ".jar")
}

// isGo recognises `go run`, and binaries that were built with Beam's Go SDK.
func isGo(argv []string) bool {
	if program(argv) == "go" {
		return len(argv) > 1 && argv[1] == "run"
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return false
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return false
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/apache/beam/sdks/v2" {
			return true
		}
	}
	return false
}

func isNode(argv []string) bool {
	switch program(argv) {
	case "node", "nodejs", "npx", "npm", "ts-node", "tsx":
		return true
	}
	return strings.HasSuffix(argv[0], ".js") || strings.HasSuffix(argv[0], ".ts")
}

func atEnd(argv, flags []string) []string { return append(argv, flags...) }

// insertJava: build tools take the program's arguments in one of their own.
func insertJava(argv, flags []string) []string {
	switch program(argv) {
	case "mvn", "mvnw":
		return inArgument(argv, "-Dexec.args=", flags)
	case "gradle", "gradlew":
		return inArgument(argv, "--args=", flags)
	}
	return atEnd(argv, flags)
}

func inArgument(argv []string, prefix string, flags []string) []string {
	all := strings.Join(flags, " ")
	for i, a := range argv {
		if strings.HasPrefix(a, prefix) {
			argv[i] = a + " " + all
			return argv
		}
	}
	return append(argv, prefix+all)
}

// insertGo: Go's flag package stops at the first argument that is no flag, so
// ours go first; with `go run` that is behind the package.
func insertGo(argv, flags []string) []string {
	at := 1
	if program(argv) == "go" {
		at = behindPackage(argv)
	}
	return slices.Insert(argv, at, flags...)
}

// goFlagsWithValue are flags of `go run` whose value may be the next argument.
var goFlagsWithValue = []string{
	"C", "p", "exec", "asmflags", "buildmode", "compiler", "covermode", "coverpkg", "gccgoflags", "gcflags",
	"installsuffix", "ldflags", "mod", "modfile", "overlay", "pgo", "pkgdir", "tags", "toolexec", "vet",
}

// behindPackage is the index of the first argument of the program in
// `go run [flags] package|file.go… [arguments]`.
func behindPackage(argv []string) int {
	i := 2
	for i < len(argv) && strings.HasPrefix(argv[i], "-") {
		if slices.Contains(goFlagsWithValue, strings.TrimLeft(argv[i], "-")) {
			i++
		}
		i++
	}
	if i < len(argv) && !strings.HasSuffix(argv[i], ".go") {
		return i + 1
	}
	for i < len(argv) && strings.HasSuffix(argv[i], ".go") {
		i++
	}
	return min(i, len(argv))
}

// insertNode: npm keeps flags to itself unless a "--" precedes them.
func insertNode(argv, flags []string) []string {
	if program(argv) == "npm" && !slices.Contains(argv, "--") {
		argv = append(argv, "--")
	}
	return atEnd(argv, flags)
}
