//go:build !linux

package environment

import "errors"

// treeMemory is known on Linux only.
func treeMemory(int) (int64, error) { return 0, errors.ErrUnsupported }

// killTree does nothing: the process group is all that is known of.
func killTree(int) {}
