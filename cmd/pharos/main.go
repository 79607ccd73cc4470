// Command pharos runs Apache Beam pipelines from any SDK; see package cli.
package main

import (
	"os"
	"runtime/debug"

	"github.com/pharos-beam/pharos/internal/cli"
)

// version is set by the linker in releases.
var version = ""

func main() {
	os.Exit(cli.Main(os.Args[1:], &cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: describe(), NewEngine: cli.LocalEngine,
	}))
}

// describe names the version, or the commit, this program was built from.
func describe() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "dev-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "dev"
}
