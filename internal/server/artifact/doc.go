// Package artifact keeps the files that jobs need in their workers, and serves
// Beam's artifact services: staging, in which the runner asks the SDK that
// submits a job for its files, and retrieval, in which workers fetch them.
//
// On disk, below one folder:
//
//	blobs/ab/abcdef…   a file's content, named by its SHA-256
//	jobs/<hash>        one job's manifest: which environment needs which files
//	tmp/               files that are still being received
//
// Invariants:
//   - Nothing that a client sends becomes part of a path of this machine. Blobs
//     are named by a hash computed here, manifests by the hash of their token,
//     and the runner opens no file because an artifact names it.
//   - A blob is complete and its name is true: content goes to tmp/ first, and
//     a given checksum is compared before the rename.
//   - A blob lives as long as some job's manifest names it. A worker can fetch
//     what its own job's manifest names, and nothing else.
//   - Memory use does not grow with the size of a file.
package artifact

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
)

// URNs of artifact types and roles, from beam_runner_api.proto
// (StandardArtifacts).
const (
	typeFile      = "beam:artifact:type:file:v1"
	typeURL       = "beam:artifact:type:url:v1"
	typeEmbedded  = "beam:artifact:type:embedded:v1"
	typePyPI      = "beam:artifact:type:pypi:v1"
	typeMaven     = "beam:artifact:type:maven:v1"
	roleStagingTo = "beam:artifact:role:staging_to:v1"
)

// Limits.
const (
	// ChunkBytes is how much of an artifact one message carries. Workers accept
	// gRPC messages of 4 MiB.
	ChunkBytes = 2 << 20
	// DefaultMaxArtifactBytes bounds one file.
	DefaultMaxArtifactBytes = 4 << 30
	// DefaultMaxJobBytes bounds the files of one job.
	DefaultMaxJobBytes = 16 << 30
	// maxArtifacts bounds the number of artifacts of one job.
	maxArtifacts = 100_000
	// maxNesting bounds any-of environments within any-of environments.
	maxNesting = 8
)

var (
	// ErrUnknownToken: no job has been prepared under this token.
	ErrUnknownToken = errors.New("unknown staging token")
	// ErrUnknownArtifact: no live job has such an artifact.
	ErrUnknownArtifact = errors.New("unknown artifact")
	// ErrBusy: the artifacts of this job are being staged by another call.
	ErrBusy = errors.New("artifacts of this job are being staged already")
	// ErrTooLarge: a limit on size is exceeded.
	ErrTooLarge = errors.New("too large")
	// ErrChecksum: content does not have the SHA-256 that was promised.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrName: a name that would leave a worker's staging folder.
	ErrName = errors.New("unsafe name")
)

// describe names an artifact in errors.
func describe(a *pipepb.ArtifactInformation) string {
	name := ""
	if n, ok, err := stagedName(a); err == nil && ok {
		name = n
	}
	switch p := payloadOf(a).(type) {
	case *pipepb.ArtifactFilePayload:
		name = p.GetPath()
	case *pipepb.ArtifactUrlPayload:
		name = p.GetUrl()
	}
	if name == "" {
		return fmt.Sprintf("artifact of type %s", a.GetTypeUrn())
	}
	return fmt.Sprintf("artifact %q (%s)", name, a.GetTypeUrn())
}

// payloadOf decodes the payloads that the runner understands; nil for others
// and for malformed ones.
func payloadOf(a *pipepb.ArtifactInformation) proto.Message {
	var m proto.Message
	switch a.GetTypeUrn() {
	case typeFile:
		m = &pipepb.ArtifactFilePayload{}
	case typeURL:
		m = &pipepb.ArtifactUrlPayload{}
	case typeEmbedded:
		m = &pipepb.EmbeddedFilePayload{}
	default:
		return nil
	}
	if proto.Unmarshal(a.GetTypePayload(), m) != nil {
		return nil
	}
	return m
}

// checksum is the SHA-256, in lower-case hex, that the artifact says it has.
func checksum(a *pipepb.ArtifactInformation) string {
	switch p := payloadOf(a).(type) {
	case *pipepb.ArtifactFilePayload:
		return strings.ToLower(p.GetSha256())
	case *pipepb.ArtifactUrlPayload:
		return strings.ToLower(p.GetSha256())
	}
	return ""
}

// stagedName is the path, relative to a worker's staging folder, that the role
// asks for, and whether it asks for one.
func stagedName(a *pipepb.ArtifactInformation) (string, bool, error) {
	if a.GetRoleUrn() != roleStagingTo {
		return "", false, nil
	}
	var role pipepb.ArtifactStagingToRolePayload
	if err := proto.Unmarshal(a.GetRolePayload(), &role); err != nil {
		return "", false, fmt.Errorf("role payload of %s: %w", a.GetTypeUrn(), err)
	}
	return role.GetStagedName(), true, nil
}

// checkName refuses a staged name with which a worker would write outside its
// staging folder. Workers join it to that folder without looking; they may run
// on a system where a backslash separates, too.
func checkName(a *pipepb.ArtifactInformation) error {
	name, ok, err := stagedName(a)
	if err != nil || !ok {
		return err
	}
	slashed := strings.ReplaceAll(name, `\`, "/")
	drive := len(slashed) > 1 && slashed[1] == ':'
	if drive || !filepath.IsLocal(slashed) || path.Clean(slashed) == "." || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%w: staged name %q of %s leaves the staging folder", ErrName, name, a.GetTypeUrn())
	}
	return nil
}

// baseName is a harmless file name for a worker's copy of a file that the SDK
// calls p.
func baseName(p string) string {
	p = path.Base(path.Clean("/" + strings.ReplaceAll(p, `\`, "/")))
	p = strings.Map(func(r rune) rune {
		if r < ' ' || r == ':' {
			return '_'
		}
		return r
	}, p)
	if p == "/" || p == "" {
		return "artifact"
	}
	return p
}
