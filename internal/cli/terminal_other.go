//go:build !unix

package cli

import "os"

// terminalWidth is the number of columns of a terminal, 0 if f is none, or if
// that cannot be told.
func terminalWidth(*os.File) int { return 0 }
