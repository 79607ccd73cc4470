package job

import (
	"context"
	"fmt"
)

// turns bounds how many groupings run at a time, of all jobs together: their
// memory is divided by that number. Who waits longest is next, and a job has no
// more in the line than it may run at a time, so that jobs take turns. A nil
// turns lets everybody in.
type turns chan struct{}

func newTurns(n int) turns { return make(turns, max(n, 1)) }

// enter waits for a turn; the caller must call leave.
func (t turns) enter(ctx context.Context) (leave func(), err error) {
	if t == nil {
		return func() {}, nil
	}
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the groupings of other jobs: %w", context.Cause(ctx))
	}
}
