package environment

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// procStat is what proc(5) says of a process.
type procStat struct {
	parent int
	pages  int64 // resident
}

// readStat reads a process' state; ok is false if there is none.
func readStat(pid string) (s procStat, ok bool) {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return s, false
	}
	// The command, in parentheses, may have any characters. The fields after it
	// begin with the third.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const parentField, pagesField = 4 - 3, 24 - 3
	if len(f) <= pagesField {
		return s, false
	}
	s.parent, err = strconv.Atoi(f[parentField])
	if err != nil {
		return s, false
	}
	s.pages, err = strconv.ParseInt(f[pagesField], 10, 64)
	return s, err == nil
}

// processTree returns a process with all its descendants, parents first: boot
// programs put what they start into process groups of their own.
func processTree(root int) (map[int]procStat, error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := map[int]procStat{}
	children := map[int][]int{}
	for _, n := range names {
		pid, err := strconv.Atoi(n.Name())
		if err != nil {
			continue
		}
		if s, ok := readStat(n.Name()); ok {
			all[pid] = s
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	tree := map[int]procStat{}
	for next := []int{root}; len(next) > 0; next = next[1:] {
		if s, ok := all[next[0]]; ok {
			tree[next[0]] = s
			next = append(next, children[next[0]]...)
		}
	}
	return tree, nil
}

// treeMemory is how many bytes a process and its descendants hold in memory.
func treeMemory(root int) (int64, error) {
	tree, err := processTree(root)
	if err != nil {
		return 0, err
	}
	var pages int64
	for _, s := range tree {
		pages += s.pages
	}
	return pages * int64(os.Getpagesize()), nil
}

// killTree ends a process and its descendants.
func killTree(root int) {
	tree, err := processTree(root)
	if err != nil {
		return
	}
	for pid := range tree {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
