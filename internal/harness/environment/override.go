package environment

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// CheckOverride reports what is wrong with an override, or nil. See Resolve for
// what key and value may be.
func CheckOverride(key, value string) error {
	if key == "" {
		return fmt.Errorf("environment override %q has no name before the =", value)
	}
	if _, err := path.Match(key, ""); err != nil {
		return fmt.Errorf("environment override %q: %w", key, err)
	}
	_, err := parseOverride(&pipepb.Environment{}, value)
	return err
}

// override finds the override for an environment, "" when there is none.
func override(envID string, env *pipepb.Environment, overrides map[string]string) string {
	if v, ok := overrides[envID]; ok && envID != "" {
		return v
	}
	for _, kind := range []struct{ name, is string }{
		{"process", urn.EnvProcess}, {"external", urn.EnvExternal}, {"loopback", urn.EnvExternal},
	} {
		if v, ok := overrides[kind.name]; ok && env.GetUrn() == kind.is {
			return v
		}
	}
	if !needsHelp(env) {
		return ""
	}
	if v, ok := imageOverride(imageOf(env), overrides); ok {
		return v
	}
	if v, ok := overrides[string(LanguageOf(env))]; ok && LanguageOf(env) != Unknown {
		return v
	}
	if v, ok := overrides["docker"]; ok && env.GetUrn() == urn.EnvDocker {
		return v
	}
	return ""
}

// needsHelp says whether env may need an override to run: a container needs an
// engine and an image, which are not everywhere.
func needsHelp(env *pipepb.Environment) bool {
	switch env.GetUrn() {
	case urn.EnvExternal, urn.EnvProcess:
		return false
	}
	return true
}

// imageOverride finds the most specific glob that matches image.
func imageOverride(image string, overrides map[string]string) (string, bool) {
	if image == "" {
		return "", false
	}
	globs := make([]string, 0, len(overrides))
	for k := range overrides {
		if !slices.Contains(reservedKeys, k) {
			globs = append(globs, k)
		}
	}
	sort.Slice(globs, func(i, j int) bool {
		if len(globs[i]) != len(globs[j]) {
			return len(globs[i]) > len(globs[j])
		}
		return globs[i] < globs[j]
	})
	for _, g := range globs {
		if globMatches(g, image) {
			return overrides[g], true
		}
	}
	return "", false
}

// reservedKeys are override keys that are not globs for images.
var reservedKeys = []string{
	"docker", "process", "external", "loopback",
	string(Python), string(Java), string(Go), string(TypeScript),
}

// globMatches matches like path.Match, with a * that also crosses slashes, for
// image names have any number of them.
func globMatches(glob, image string) bool {
	const sep = "\x00"
	ok, err := path.Match(strings.ReplaceAll(glob, "/", sep), strings.ReplaceAll(image, "/", sep))
	return err == nil && ok
}

// parseOverride makes the environment that value describes; what it does not
// say is taken from env.
func parseOverride(env *pipepb.Environment, value string) (*pipepb.Environment, error) {
	kind, rest, ok := strings.Cut(value, ":")
	rest = strings.TrimSpace(rest)
	if !ok || rest == "" {
		return nil, fmt.Errorf("environment override %q is not of the form process:COMMAND, external:HOST:PORT or docker:IMAGE", value)
	}
	var typ string
	var payload proto.Message
	switch kind {
	case "process":
		vars, command := splitAssignments(rest)
		if command == "" {
			return nil, fmt.Errorf("environment override %q has no command", value)
		}
		typ, payload = urn.EnvProcess, &pipepb.ProcessPayload{Command: command, Env: vars}
	case "external":
		typ, payload = urn.EnvExternal, &pipepb.ExternalPayload{Endpoint: &pipepb.ApiServiceDescriptor{Url: rest}}
	case "docker":
		typ, payload = urn.EnvDocker, &pipepb.DockerPayload{ContainerImage: rest}
	default:
		return nil, fmt.Errorf("environment override %q: %q is not one of process, external, docker", value, kind)
	}
	b, err := proto.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("environment override %q: %w", value, err)
	}
	r := proto.Clone(env).(*pipepb.Environment)
	r.Urn, r.Payload = typ, b
	return r, nil
}

// splitAssignments splits leading NAME=value words off a command line.
func splitAssignments(s string) (vars map[string]string, rest string) {
	for {
		word, after, _ := strings.Cut(strings.TrimLeft(s, " "), " ")
		name, value, ok := strings.Cut(word, "=")
		if !ok || name == "" || strings.ContainsAny(name, "/'\"-.\\") {
			return vars, strings.TrimSpace(s)
		}
		if vars == nil {
			vars = map[string]string{}
		}
		vars[name] = value
		s = after
	}
}

// splitCommand splits a command line into words like a shell does, with
// quotes and backslashes, without expanding anything.
func splitCommand(s string) ([]string, error) {
	var (
		words []string
		word  strings.Builder
		in    bool // within a word
		quote rune
		esc   bool
	)
	for _, r := range s {
		switch {
		case esc:
			word.WriteRune(r)
			esc = false
		case r == '\\' && quote != '\'':
			esc, in = true, true
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quote != 0 || esc {
		return nil, fmt.Errorf("command %q has an open quote", s)
	}
	if in {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("command is empty")
	}
	return words, nil
}
