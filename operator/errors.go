package operator

import (
	"errors"
	"strings"
)

// ErrClosed is returned by an operator or a pool that has been closed.
var ErrClosed = errors.New("operator is closed")

// FunctionError is what a function failed with: an exception of its language.
type FunctionError struct {
	// Function is the function's name.
	Function string
	// Traceback is what the harness reported, whole and unchanged.
	Traceback string
}

// Error names the function and the exception, in one line.
func (e *FunctionError) Error() string {
	return e.Function + ": " + summary(e.Traceback)
}

// summary takes the line of a traceback that says most: in Python the last
// line that is not indented.
func summary(text string) string {
	text = strings.TrimSpace(text)
	lines := strings.Split(text, "\n")
	if !strings.Contains(text, "Traceback (most recent call last)") {
		return lines[0]
	}
	for i := len(lines) - 1; i >= 0; i-- {
		if l := lines[i]; l != "" && l[0] != ' ' && l[0] != '\t' {
			return strings.TrimSpace(l)
		}
	}
	return lines[len(lines)-1]
}

// WorkerError says that workers died while they ran a batch or a bundle, as
// often as it was tried.
type WorkerError struct {
	// Function is the function's name.
	Function string
	// Attempts is how often it was tried.
	Attempts int
	// Cause is how the last worker ended.
	Cause error
}

// Error is one line.
func (e *WorkerError) Error() string {
	return e.Function + ": its worker died each time it was tried: " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *WorkerError) Unwrap() error { return e.Cause }
