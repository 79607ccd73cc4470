package monitoring

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
)

// Limits of bounded tries.
const (
	// DefaultTrieBound is the bound of a trie that does not say one, as in the
	// SDKs.
	DefaultTrieBound = 100
	// MaxTrieBound is the largest bound; a trie that asks for more gets it.
	MaxTrieBound = 1 << 14
	// trieSlack is how many times its bound a trie may hold while it is being
	// accumulated. Trimming loses information, and what it loses depends on the
	// order; so it waits until the value is asked for, or memory is at stake.
	trieSlack = 50
	// maxTrieDepth is the length of the longest path.
	maxTrieDepth = 200
)

// trie is a set of paths. A path that is the beginning of another is not told
// apart from it, as in the SDKs.
type trie struct {
	bound int
	root  *node // nil: no path
}

// node is a node of a trie. It is a leaf if it has no children. Truncated means
// that any paths may go on from here, and excludes children.
type node struct {
	truncated bool
	children  []child // sorted by name
	// size is the number of paths; trim needs it, and count sets it.
	size int
}

type child struct {
	name string
	*node
}

func readTrie(r *reader) accumulator {
	var p pipepb.BoundedTrie
	if err := proto.Unmarshal(r.all(), &p); err != nil {
		r.fail(fmt.Errorf("%w: bounded trie: %v", ErrBadPayload, err))
		return nil
	}
	t := &trie{bound: min(int(p.GetBound()), MaxTrieBound)}
	if t.bound <= 0 {
		t.bound = DefaultTrieBound
	}
	if p.GetRoot() != nil {
		t.root = nodeOf(p.GetRoot(), maxTrieDepth)
	}
	if path := p.GetSingleton(); len(path) > 0 {
		t.root = join(t.root, pathOf(path, maxTrieDepth))
	}
	return t
}

// nodeOf and pathOf cut off what is deeper than the limit.
func nodeOf(p *pipepb.BoundedTrieNode, depth int) *node {
	n := &node{truncated: p.GetTruncated() || depth == 0}
	if n.truncated {
		return n
	}
	for _, name := range slices.Sorted(maps.Keys(p.GetChildren())) {
		n.children = append(n.children, child{name, nodeOf(p.GetChildren()[name], depth-1)})
	}
	return n
}

func pathOf(path []string, depth int) *node {
	switch {
	case len(path) == 0:
		return &node{}
	case depth == 0:
		return &node{truncated: true}
	}
	return &node{children: []child{{path[0], pathOf(path[1:], depth-1)}}}
}

// join returns the union, and takes over both. Leaf, children, truncated are
// in ascending order; children are joined by name.
func join(a, b *node) *node {
	switch {
	case a == nil || b != nil && b.truncated:
		return b
	case b == nil || a.truncated || len(b.children) == 0:
		return a
	case len(a.children) == 0:
		return b
	}
	x, y := a.children, b.children
	joined := make([]child, 0, len(x)+len(y))
	for len(x) > 0 && len(y) > 0 {
		switch c := strings.Compare(x[0].name, y[0].name); {
		case c < 0:
			joined, x = append(joined, x[0]), x[1:]
		case c > 0:
			joined, y = append(joined, y[0]), y[1:]
		default:
			joined = append(joined, child{x[0].name, join(x[0].node, y[0].node)})
			x, y = x[1:], y[1:]
		}
	}
	return &node{children: append(append(joined, x...), y...)}
}

func (t *trie) merge(o accumulator) {
	ot := o.(*trie)
	t.bound = min(t.bound, ot.bound)
	t.root = join(t.root, ot.root)
	// Trimming down to half of the limit makes it rare.
	if limit := t.bound * trieSlack; t.root != nil && t.root.count() > limit {
		t.root.trim(limit / 2)
	}
}

// count counts the paths and keeps the number in each node.
func (n *node) count() int {
	total := 0
	for _, c := range n.children {
		total += c.count()
	}
	n.size = max(1, total)
	return n.size
}

// trim truncates nodes until there are at most bound paths. Like the SDKs it
// goes down the largest subtree to the last fork and truncates there; of two
// subtrees of the same size it takes the one whose name comes first.
func (n *node) trim(bound int) {
	for n.count(); n.size > max(bound, 1); {
		n.trimOnce()
	}
}

// trimOnce returns how many paths fewer there are.
func (n *node) trimOnce() int {
	removed := n.size - 1
	if c := n.largest(); c.size > 1 {
		removed = c.trimOnce()
	} else {
		n.truncated, n.children = true, nil
	}
	n.size -= removed
	return removed
}

// largest returns the first child with the most paths. There must be one.
func (n *node) largest() child {
	found := n.children[0]
	for _, c := range n.children[1:] {
		if c.size > found.size {
			found = c
		}
	}
	return found
}

func (n *node) clone() *node {
	if n == nil {
		return nil
	}
	c := &node{truncated: n.truncated, children: slices.Clone(n.children)}
	for i := range c.children {
		c.children[i].node = c.children[i].node.clone()
	}
	return c
}

func (n *node) proto() *pipepb.BoundedTrieNode {
	p := &pipepb.BoundedTrieNode{Truncated: n.truncated}
	if len(n.children) > 0 {
		p.Children = make(map[string]*pipepb.BoundedTrieNode, len(n.children))
	}
	for _, c := range n.children {
		p.Children[c.name] = c.proto()
	}
	return p
}

// paths appends all paths in sorted order, each with prefix in front.
func (n *node) paths(dst [][]string, prefix []string) [][]string {
	if len(n.children) == 0 {
		path := slices.Clone(prefix)
		if n.truncated {
			path = append(path, "*")
		}
		return append(dst, path)
	}
	for _, c := range n.children {
		dst = c.paths(dst, append(slices.Clip(prefix), c.name))
	}
	return dst
}

func (t *trie) encode() []byte {
	return t.trimmed().state()
}

// trimmed returns a copy that keeps the bound.
func (t *trie) trimmed() *trie {
	c := &trie{bound: t.bound, root: t.root.clone()}
	if c.root != nil {
		c.root.trim(c.bound)
	}
	return c
}

func (t *trie) state() []byte {
	p := &pipepb.BoundedTrie{Bound: int32(t.bound)}
	if t.root != nil {
		p.Root = t.root.proto()
	}
	// The strings come from a valid proto.
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	return b
}

func (t *trie) clone() accumulator { return &trie{bound: t.bound, root: t.root.clone()} }
