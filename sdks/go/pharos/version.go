package pharos

import (
	"context"
	"fmt"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/pharos-beam/pharos/internal/server/jobserver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// greetLimit is how long a server may take to say who it is.
const greetLimit = 2 * time.Minute

// module is this package's.
const module = "github.com/pharos-beam/pharos/sdks/go"

// own is this package's version, or empty for a build between versions.
func own() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module && m.Version != "(devel)" {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	return ""
}

// greet asks a server who it is, and fails if it is a Pharos that this package
// does not fit.
func greet(ctx context.Context, endpoint string) error {
	ctx, cancel := context.WithTimeout(ctx, greetLimit)
	defer cancel()
	cc, err := dial(endpoint)
	if err != nil {
		return err
	}
	defer cc.Close()
	var header metadata.MD
	request := &jobpb.DescribePipelineOptionsRequest{}
	if _, err := jobpb.NewJobServiceClient(cc).DescribePipelineOptions(ctx, request, grpc.Header(&header)); err != nil {
		return fmt.Errorf("no job service answers at %s (is `pharos serve` running there?): %w", endpoint, err)
	}
	for _, theirs := range header.Get(jobserver.VersionHeader) {
		if !fits(theirs, own()) {
			return fmt.Errorf("the server at %s is Pharos %s, and this is %s %s: use the one that fits the other", endpoint, theirs, module, own())
		}
	}
	return nil
}

var numbers = regexp.MustCompile(`^v?(\d+)\.(\d+)\.\d+`)

// fits says whether a server of one version and a client of the other
// understand each other: they have the same major number, and before 1.0 the
// same minor number as well. A build between versions fits everything.
func fits(server, client string) bool {
	a, b := line(server), line(client)
	return a == "" || b == "" || a == b
}

// line is what versions that fit have in common; empty for a build of a commit,
// whose version Go begins with 0.0.
func line(version string) string {
	m := numbers.FindStringSubmatch(version)
	switch {
	case m == nil || m[1] == "0" && m[2] == "0":
		return ""
	case m[1] == "0":
		return "0." + m[2]
	}
	return m[1]
}
