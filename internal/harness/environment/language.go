package environment

import (
	"fmt"
	"slices"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Language is the language of an environment's SDK.
type Language string

// Languages that environments are recognized as.
const (
	Unknown    Language = ""
	Python     Language = "python"
	Java       Language = "java"
	Go         Language = "go"
	TypeScript Language = "typescript"
)

// typeScriptMessageMax is what TypeScript's gRPC client takes in one message
// (4 MiB), less some room for what is not data.
const typeScriptMessageMax = 4<<20 - 16<<10

// singleMessageRoom is what a message needs, at most, besides the elements of
// a bundle.
const singleMessageRoom = 64 << 10

const (
	// sdkBasePrefix begins the capability that names the SDK's own image.
	sdkBasePrefix = "beam:version:sdk_base:"
	// typeScriptDefaultURN is the TypeScript SDK's name of an environment.
	typeScriptDefaultURN = "js_default"
)

// LanguageOf recognizes the SDK of env by its version label, its container
// image, its dependencies and its capabilities, in this order.
func LanguageOf(env *pipepb.Environment) Language {
	hasBase := false
	for _, c := range env.GetCapabilities() {
		if base, ok := strings.CutPrefix(c, sdkBasePrefix); ok {
			hasBase = true
			if l := languageOfImage(base); l != Unknown {
				return l
			}
		}
	}
	if l := languageOfImage(imageOf(env)); l != Unknown {
		return l
	}
	for _, d := range env.GetDependencies() {
		if d.GetRoleUrn() == urn.ArtifactRoleGoWorkerBinary {
			return Go
		}
	}
	switch {
	case strings.Contains(env.GetUrn(), "python"):
		return Python
	case env.GetUrn() == typeScriptDefaultURN:
		return TypeScript
	case !hasBase && slices.Contains(env.GetCapabilities(), urn.ProtocolSiblingWorkers):
		return TypeScript // the only SDK without a version label
	}
	return Unknown
}

// languageOfImage recognizes names like apache/beam_python3.11_sdk:2.77.0.
func languageOfImage(image string) Language {
	name := image[strings.LastIndex(image, "/")+1:]
	for _, c := range []struct {
		part string
		l    Language
	}{
		{"python", Python}, {"java", Java}, {"typescript", TypeScript}, {"_go_", Go}, {"node", TypeScript},
	} {
		if strings.Contains(name, c.part) {
			if c.part == "java" && strings.Contains(name, "javascript") {
				return TypeScript
			}
			return c.l
		}
	}
	if strings.HasPrefix(image, "go:") || strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "golang") {
		return Go
	}
	return Unknown
}

// imageOf returns the container image of a DOCKER environment, or "".
func imageOf(env *pipepb.Environment) string {
	if env.GetUrn() != urn.EnvDocker {
		return ""
	}
	p := &pipepb.DockerPayload{}
	if proto.Unmarshal(env.GetPayload(), p) != nil {
		return ""
	}
	return p.GetContainerImage()
}

// traitsOf returns what package bundle has to know of an SDK.
func traitsOf(l Language) fnapi.Traits {
	switch l {
	case TypeScript:
		return fnapi.Traits{MaxMessageBytes: typeScriptMessageMax, SingleMessage: true, RunningTotals: true, RefusesSplits: true}
	case Go:
		return fnapi.Traits{TimersEndPerTransform: true, SplitFractionMin: goSplitFraction}
	}
	return fnapi.Traits{}
}

// traits returns what package bundle has to know of the target's SDK.
func (t *Target) traits() fnapi.Traits {
	traits := traitsOf(t.Language)
	traits.AnonymousState = t.Kind == External && t.Language == Python && before(sdkVersion(t.Env), 2, pythonNamesItself)
	return traits
}

// pythonNamesItself is the minor version 2.x of Python's SDK from which on its
// state streams carry the worker's id wherever it runs. Before, they carry that
// of the variable WORKER_ID, which only processes of their own have:
// sdk_worker.GrpcStateHandlerFactory made its WorkerIdInterceptor without an id.
const pythonNamesItself = 63

// sdkVersion returns the version in the name of the SDK's own image, or "".
func sdkVersion(env *pipepb.Environment) string {
	for _, c := range env.GetCapabilities() {
		if base, ok := strings.CutPrefix(c, sdkBasePrefix); ok {
			return base[strings.LastIndex(base, ":")+1:]
		}
	}
	return ""
}

// before reports whether a version like 2.62.0 is older than major.minor. What
// is no version is not.
func before(version string, major, minor int) bool {
	var x, y int
	if n, _ := fmt.Sscanf(version, "%d.%d", &x, &y); n != 2 {
		return false
	}
	return x < major || x == major && y < minor
}

// goSplitFraction is far above any rounding error, and of no consequence: a
// checkpoint comes a thousandth of the rest later.
const goSplitFraction = 1e-3

// reportsStatus says whether the harness reports its status under its own
// worker id. Python's takes the id from a variable that only boot programs and
// we set; in a worker pool it would come under a random one.
func (p *Pool) reportsStatus() bool {
	switch p.target.Language {
	case Go, Java:
		return true
	case Python:
		return p.target.Kind != External
	}
	return false
}
