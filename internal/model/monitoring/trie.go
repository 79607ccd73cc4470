package monitoring

import (
	"fmt"
	"maps"
	"slices"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"
)

// Limits of bounded tries.
const (
	// DefaultTrieBound is the bound of a trie that does not say one, as in the
	// SDKs.
	DefaultTrieBound = 100
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
	children  map[string]*node
}

func readTrie(r *reader) accumulator {
	var p pipepb.BoundedTrie
	if err := proto.Unmarshal(r.all(), &p); err != nil {
		r.fail(fmt.Errorf("%w: bounded trie: %v", ErrBadPayload, err))
		return nil
	}
	t := &trie{bound: int(p.GetBound())}
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
	if n.truncated || len(p.GetChildren()) == 0 {
		return n
	}
	n.children = make(map[string]*node, len(p.GetChildren()))
	for name, c := range p.GetChildren() {
		n.children[name] = nodeOf(c, depth-1)
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
	return &node{children: map[string]*node{path[0]: pathOf(path[1:], depth-1)}}
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
	for name, c := range b.children {
		a.children[name] = join(a.children[name], c)
	}
	return a
}

func (t *trie) merge(o accumulator) {
	ot := o.(*trie)
	t.bound = min(t.bound, ot.bound)
	t.root = join(t.root, ot.root)
	// Trimming down to half of the limit makes it rare.
	if limit := t.bound * trieSlack; t.root.size() > limit {
		t.root.trim(limit / 2)
	}
}

// size is the number of paths.
func (n *node) size() int {
	if n == nil {
		return 0
	}
	total := 0
	for _, c := range n.children {
		total += c.size()
	}
	return max(1, total)
}

// trim truncates nodes until there are at most bound paths. Like the SDKs it
// goes down the largest subtree to the last fork and truncates there; of two
// subtrees of the same size it takes the one whose name comes first.
func (n *node) trim(bound int) {
	for size := n.size(); size > max(bound, 1); {
		size -= n.trimOnce()
	}
}

// trimOnce returns how many paths fewer there are.
func (n *node) trimOnce() int {
	name, size := n.largest()
	if size > 1 {
		return n.children[name].trimOnce()
	}
	removed := n.size() - 1
	n.truncated, n.children = true, nil
	return removed
}

func (n *node) largest() (name string, size int) {
	for _, k := range slices.Sorted(maps.Keys(n.children)) {
		if s := n.children[k].size(); s > size {
			name, size = k, s
		}
	}
	return name, size
}

func (n *node) clone() *node {
	if n == nil {
		return nil
	}
	c := &node{truncated: n.truncated}
	if n.children != nil {
		c.children = make(map[string]*node, len(n.children))
		for name, child := range n.children {
			c.children[name] = child.clone()
		}
	}
	return c
}

func (n *node) proto() *pipepb.BoundedTrieNode {
	p := &pipepb.BoundedTrieNode{Truncated: n.truncated}
	if len(n.children) > 0 {
		p.Children = make(map[string]*pipepb.BoundedTrieNode, len(n.children))
		for name, c := range n.children {
			p.Children[name] = c.proto()
		}
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
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		dst = n.children[name].paths(dst, append(slices.Clip(prefix), name))
	}
	return dst
}

func (t *trie) encode() []byte {
	trimmed := t.trimmed()
	return trimmed.state()
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
