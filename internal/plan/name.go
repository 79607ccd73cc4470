package plan

import (
	"fmt"
	"strings"
)

// maxNamed is how many transforms a stage is named after.
const maxNamed = 4

// stageName makes a name of those of a stage's transforms, like
// "Read/{Split, Parse, +2}".
func stageName(c *cut) string {
	var names []string
	seen := map[string]bool{}
	for _, n := range c.nodes {
		if !seen[n.name] {
			seen[n.name] = true
			names = append(names, n.name)
		}
	}
	if len(names) == 1 {
		return names[0]
	}
	prefix := commonPrefix(names)
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], prefix)
	}
	if more := len(names) - maxNamed; more > 0 {
		names = append(names[:maxNamed], fmt.Sprintf("+%d", more))
	}
	return prefix + "{" + strings.Join(names, ", ") + "}"
}

// commonPrefix returns the levels of the hierarchy that all names are below,
// with the slash behind.
func commonPrefix(names []string) string {
	prefix := names[0]
	for _, name := range names {
		for !strings.HasPrefix(name, prefix) || name == prefix {
			cut := strings.LastIndexByte(strings.TrimSuffix(prefix, "/"), '/')
			prefix = prefix[:cut+1]
			if prefix == "" {
				return ""
			}
		}
	}
	return prefix[:strings.LastIndexByte(prefix, '/')+1]
}
