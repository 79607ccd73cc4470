package trigger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrBadState is the error for bytes that are no State of this Machine.
var ErrBadState = errors.New("malformed trigger state")

// State is the progress of one window. The zero value is not usable: get one
// from Machine.Start.
type State struct {
	finished []bool
	// value of a node: the elements counted, or the end of the delay plus
	// delayBias, or 0 for none.
	value []int64
}

// delayBias keeps an end of a delay, which is within the bounds of
// timestamps, apart from 0, which says that no delay is running.
const delayBias = math.MaxInt64 / 4

// Start returns the state of a window without elements.
func (m *Machine) Start() *State {
	return &State{finished: make([]bool, len(m.nodes)), value: make([]int64, len(m.nodes))}
}

// Finished reports whether the trigger will never fire again. What becomes of
// later elements is not its business.
func (s *State) Finished() bool { return s.finished[0] }

// Append appends the encoding of s: the finished nodes as bits, then the
// values of all nodes that can have one. What is at the end and says nothing
// is left out, so a window with a fresh state takes no bytes.
func (m *Machine) Append(dst []byte, s *State) []byte {
	start := len(dst)
	for i := 0; i < len(s.finished); i += 8 {
		var b byte
		for j := i; j < min(i+8, len(s.finished)); j++ {
			if s.finished[j] {
				b |= 1 << (j - i)
			}
		}
		dst = append(dst, b)
	}
	for i := range m.nodes {
		switch m.nodes[i].kind {
		case elementCount:
			dst = binary.AppendUvarint(dst, uint64(s.value[i]))
		case delay, syncDelay:
			v := s.value[i]
			if v != 0 {
				// Zigzag of the end itself, plus 1: today's instants take 6 bytes.
				t := v - delayBias
				v = (t<<1 ^ t>>63) + 1
			}
			dst = binary.AppendUvarint(dst, uint64(v))
		}
	}
	for len(dst) > start && dst[len(dst)-1] == 0 {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// Decode reads what Append wrote, which must be all of b.
func (m *Machine) Decode(b []byte) (*State, error) {
	s := m.Start()
	for i := 0; i < len(m.nodes) && len(b) > 0; i += 8 {
		for j := i; j < min(i+8, len(m.nodes)); j++ {
			s.finished[j] = b[0]>>(j-i)&1 != 0
		}
		b = b[1:]
	}
	for i := 0; i < len(m.nodes) && len(b) > 0; i++ {
		k := m.nodes[i].kind
		if k != elementCount && k != delay && k != syncDelay {
			continue
		}
		v, n := binary.Uvarint(b)
		if n <= 0 || v > math.MaxInt64/2 {
			return nil, fmt.Errorf("%w: value of part %d", ErrBadState, i)
		}
		b = b[n:]
		s.value[i] = int64(v)
		if k != elementCount && v != 0 {
			z := v - 1
			s.value[i] = int64(z>>1) ^ -int64(z&1) + delayBias
		}
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", ErrBadState, len(b))
	}
	return s, nil
}

// clear forgets the elements and delays of the subtree at i, but not what is
// finished.
func (m *Machine) clear(s *State, i int) { clear(s.value[i:m.nodes[i].end]) }

// reset starts the subtree at i afresh.
func (m *Machine) reset(s *State, i int) {
	m.clear(s, i)
	clear(s.finished[i:m.nodes[i].end])
}

// unfinished returns the first child of node i that is not finished, or -1.
func (m *Machine) unfinished(s *State, i int) int {
	for _, sub := range m.nodes[i].subs {
		if !s.finished[sub] {
			return sub
		}
	}
	return -1
}
