package fnapi

import (
	"errors"
	"fmt"
)

// ErrClosed is the cause in a [DeadError] of a harness that the runner closed.
var ErrClosed = errors.New("closed by the runner")

// SDKError is what an SDK harness answered to an instruction that failed:
// usually the text of an exception with its stack trace.
type SDKError struct {
	// Text is the SDK's error text, whole and unchanged.
	Text string
}

// Error returns the SDK's text.
func (e *SDKError) Error() string { return e.Text }

// DeadError says that a worker's control stream is gone, and why.
type DeadError struct {
	// Worker is the name of the worker, fit for a message to people.
	Worker string
	// Cause is why it is dead: ErrClosed, a broken stream, a process' exit.
	Cause error
}

// Error is one line.
func (e *DeadError) Error() string {
	return fmt.Sprintf("SDK worker %s is dead: %v", e.Worker, e.Cause)
}

// Unwrap returns the cause.
func (e *DeadError) Unwrap() error { return e.Cause }
