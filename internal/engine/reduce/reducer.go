package reduce

import (
	"errors"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/window"
)

// Reducer groups by a windowing strategy. It has no state of its own and may
// be used for all keys, by several goroutines.
type Reducer struct {
	strategy *window.Strategy
}

// New returns a Reducer for a strategy.
func New(s *window.Strategy) (*Reducer, error) { return &Reducer{strategy: s}, nil }

// Elements adds elements of one key, whose Value is the value without the key.
func (r *Reducer) Elements(env *Env, key []byte, elems []coder.Element) error {
	return errors.New("not yet implemented")
}

// Timer handles a timer that has come due.
func (r *Reducer) Timer(env *Env, key []byte, t Due) error {
	return errors.New("not yet implemented")
}
