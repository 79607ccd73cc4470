package trigger

import (
	"errors"
	"fmt"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// Limits on trigger expressions, which come from a pipeline and could be
// anything.
const (
	maxNodes = 1000
	maxDepth = 100
)

// ErrBadTrigger is the error for an expression that makes no sense.
var ErrBadTrigger = errors.New("bad trigger")

// kind of a node of the expression.
type kind uint8

const (
	never kind = iota + 1
	always
	repeatedEndOfWindow // the default trigger
	endOfWindow         // without early and late firings
	earlyLate           // end of window; children: early, and late if there is one
	delay               // processing time
	syncDelay           // synchronized processing time
	elementCount
	all
	first // after any
	each
	orFinally
	repeat
)

// node of the expression. Its position in Machine.nodes is its name in State.
type node struct {
	kind  kind
	subs  []int // positions of the children
	end   int   // position after the subtree
	count int64 // elementCount
	steps []step
}

// step changes the time at which a delay ends.
type step struct {
	delay          int64 // milliseconds; if period is 0
	period, offset int64 // milliseconds: round up to offset + n × period
}

// Machine runs one trigger expression.
type Machine struct {
	nodes   []node // in preorder: the root is at 0
	merging bool
	watches bool
	counts  bool
}

// New prepares a trigger. merging says that windows of the strategy merge,
// which makes later parts of a sequence keep state in case a merge brings them
// back.
func New(t *pipepb.Trigger, merging bool) (*Machine, error) {
	m := &Machine{merging: merging}
	if _, err := m.add(t, 0); err != nil {
		return nil, err
	}
	return m, nil
}

// add appends the subtree of t and returns its position.
func (m *Machine) add(t *pipepb.Trigger, depth int) (int, error) {
	if len(m.nodes) >= maxNodes || depth >= maxDepth {
		return 0, fmt.Errorf("%w: more than %d parts or %d levels", ErrBadTrigger, maxNodes, maxDepth)
	}
	at := len(m.nodes)
	m.nodes = append(m.nodes, node{})
	n, subs, err := read(t)
	if err != nil {
		return 0, err
	}
	for _, sub := range subs {
		pos, err := m.add(sub, depth+1)
		if err != nil {
			return 0, err
		}
		n.subs = append(n.subs, pos)
	}
	n.end = len(m.nodes)
	m.nodes[at] = n
	switch n.kind {
	case endOfWindow, earlyLate, repeatedEndOfWindow:
		m.watches = true
	case always, elementCount:
		m.counts = true
	}
	return at, nil
}

// read turns the root of t into a node and returns its children.
func read(t *pipepb.Trigger) (n node, subs []*pipepb.Trigger, err error) {
	switch t := t.GetTrigger().(type) {
	case *pipepb.Trigger_Default_:
		n.kind = repeatedEndOfWindow
	case *pipepb.Trigger_Never_:
		n.kind = never
	case *pipepb.Trigger_Always_:
		n.kind = always
	case *pipepb.Trigger_AfterEndOfWindow_:
		n.kind, subs = readEndOfWindow(t.AfterEndOfWindow)
	case *pipepb.Trigger_AfterProcessingTime_:
		n.kind = delay
		n.steps, err = readSteps(t.AfterProcessingTime.GetTimestampTransforms())
	case *pipepb.Trigger_AfterSynchronizedProcessingTime_:
		n.kind = syncDelay
	case *pipepb.Trigger_ElementCount_:
		n.kind, n.count = elementCount, int64(t.ElementCount.GetElementCount())
		if n.count < 1 {
			err = fmt.Errorf("%w: element count %d", ErrBadTrigger, n.count)
		}
	case *pipepb.Trigger_AfterAll_:
		n.kind, subs = all, t.AfterAll.GetSubtriggers()
	case *pipepb.Trigger_AfterAny_:
		n.kind, subs = first, t.AfterAny.GetSubtriggers()
	case *pipepb.Trigger_AfterEach_:
		n.kind, subs = each, t.AfterEach.GetSubtriggers()
	case *pipepb.Trigger_OrFinally_:
		n.kind, subs = orFinally, []*pipepb.Trigger{t.OrFinally.GetMain(), t.OrFinally.GetFinally()}
	case *pipepb.Trigger_Repeat_:
		n.kind, subs = repeat, []*pipepb.Trigger{t.Repeat.GetSubtrigger()}
	default:
		err = fmt.Errorf("%w: empty, or of a kind this runner does not know", ErrBadTrigger)
	}
	if n.kind >= all && len(subs) == 0 {
		err = fmt.Errorf("%w: a combination of no triggers", ErrBadTrigger)
	}
	return n, subs, err
}

// readEndOfWindow gives the late firings an early companion that never fires,
// because the early one's being finished says that the end of the window has
// been dealt with.
func readEndOfWindow(t *pipepb.Trigger_AfterEndOfWindow) (kind, []*pipepb.Trigger) {
	early, late := t.GetEarlyFirings(), t.GetLateFirings()
	if early == nil && late == nil {
		return endOfWindow, nil
	}
	if early == nil {
		early = &pipepb.Trigger{Trigger: &pipepb.Trigger_Never_{}}
	}
	if late == nil {
		return earlyLate, []*pipepb.Trigger{early}
	}
	return earlyLate, []*pipepb.Trigger{early, late}
}

func readSteps(transforms []*pipepb.TimestampTransform) ([]step, error) {
	var steps []step
	for _, t := range transforms {
		switch t := t.GetTimestampTransform().(type) {
		case *pipepb.TimestampTransform_Delay_:
			steps = append(steps, step{delay: t.Delay.GetDelayMillis()})
		case *pipepb.TimestampTransform_AlignTo_:
			if t.AlignTo.GetPeriod() <= 0 {
				return nil, fmt.Errorf("%w: processing time aligned to a period of %d ms", ErrBadTrigger, t.AlignTo.GetPeriod())
			}
			steps = append(steps, step{period: t.AlignTo.GetPeriod(), offset: t.AlignTo.GetOffset()})
		default:
			return nil, fmt.Errorf("%w: a timestamp transform that this runner does not know", ErrBadTrigger)
		}
	}
	return steps, nil
}

// Watches reports whether the trigger wants to be asked when the watermark
// passes the end of the window.
func (m *Machine) Watches() bool { return m.watches }

// Counts reports whether a single element can make the trigger fire, so that
// it matters how many are added at once.
func (m *Machine) Counts() bool { return m.counts }

// Clock is what time it is for a window.
type Clock struct {
	Watermark    timestamp.Time // input watermark
	MaxTimestamp timestamp.Time // of the window
	NowMS        int64          // processing time
	SyncNowMS    int64          // synchronized processing time
}

// ended reports whether the watermark has passed the end of the window.
func (c *Clock) ended() bool { return c.Watermark > c.MaxTimestamp }

// time returns the clock that a delay follows.
func (c *Clock) time(k kind) int64 {
	if k == syncDelay {
		return c.SyncNowMS
	}
	return c.NowMS
}

// target returns when a delay that starts now ends.
func (n *node) target(now int64) int64 {
	for _, s := range n.steps {
		if s.period == 0 {
			now = addSaturated(now, s.delay)
			continue
		}
		// Go's remainder has the sign of the dividend; a time before the
		// offset has to be rounded up all the same.
		rem := (now%s.period - s.offset%s.period) % s.period
		if rem < 0 {
			rem += s.period
		}
		if rem != 0 {
			now = addSaturated(now, s.period-rem)
		}
	}
	return now
}

// addSaturated adds without overflow: delays of a pipeline can be anything.
func addSaturated(a, b int64) int64 {
	const limit = int64(timestamp.Max)
	return max(-limit, min(limit, max(-limit, min(limit, a))+max(-limit, min(limit, b))))
}
