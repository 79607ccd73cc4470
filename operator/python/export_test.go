package python

import "context"

// Name is the name of the environment of s.
func (s *Spec) Name(ctx context.Context) (string, error) { return s.name(ctx) }
