package operator

import (
	"errors"
	"fmt"

	"github.com/pharos-beam/pharos/internal/model/urn"
)

// Function describes a user-defined function: what the harness is told to run,
// and how what goes in and comes out is encoded.
type Function struct {
	// Name is used in messages and metrics; the URN when empty.
	Name string
	// URN names the operation that the harness has registered.
	URN string
	// Payload is what that operation makes the function of.
	Payload []byte
	// Then are further operations, each fed with the output of the one before.
	Then []Step
	// Input and Output encode the elements; byte strings when empty. An element
	// travels as its length (a varint) and its encoding.
	Input, Output Coder
	// OutputTag is the name of the main output that the operation expects.
	OutputTag string
	// SideOutputs are outputs beside the main one.
	SideOutputs []SideOutput
	// Match says how output belongs to input.
	Match Match
	// SelfFlushing says that the harness sends the output of each batch at
	// once, so that a bundle need not end for it.
	SelfFlushing bool
	// OneElement says that the harness cannot run more than one element in a
	// bundle. Batches have one element then.
	OneElement bool
	// Timers are the timer families of the first operation.
	Timers []TimerFamily
	// RowTimers is set for a function that sets timers with elements of its
	// output, and is told of them with elements of its input.
	RowTimers RowTimers
	// Stateful functions keep state by key, and are run in transactions.
	Stateful bool
	// Coders are further coders, by the ids under which payloads refer to them.
	Coders map[string]Coder
	// States answers the state requests of a harness that does not keep to
	// Beam's state protocol; nil for Beam's.
	States StateProtocol
}

// Step is one operation of a chain.
type Step struct {
	// URN and Payload describe the operation.
	URN     string
	Payload []byte
	// Input encodes what it takes from the step before.
	Input Coder
}

// SideOutput is an output beside the main one.
type SideOutput struct {
	// Tag is the output's name in the first operation.
	Tag string
	// Coder encodes its elements.
	Coder Coder
	// Then are operations that it goes through before it leaves.
	Then []Step
}

// Coder names a coder with its payload and components. The zero Coder is byte
// strings.
type Coder struct {
	URN        string
	Payload    []byte
	Components []Coder
}

// Bytes is the coder of byte strings.
func Bytes() Coder { return Coder{URN: urn.CoderBytes} }

// Match says how the elements that come out belong to those that went in.
type Match uint8

// Ways of matching.
const (
	// OneToOne: each element gives exactly one, in order.
	OneToOne Match = iota
	// EndMarked: each element gives any number, then an element that is one
	// zero byte.
	EndMarked
	// Loose: only the output of a whole bundle is known. It is handed out with
	// the last batch of the bundle.
	Loose
)

// atomic says that f is run in transactions.
func (f *Function) atomic() bool {
	return f.Stateful || len(f.Timers) > 0 || f.RowTimers != nil || len(f.SideOutputs) > 0 || f.Match == Loose
}

// name returns what messages call the function.
func (f *Function) name() string {
	if f.Name != "" {
		return f.Name
	}
	return f.URN
}

// check reports what is wrong with the description.
func (f *Function) check() error {
	if f.URN == "" {
		return errors.New("a function needs a URN")
	}
	tags := map[string]bool{f.OutputTag: true}
	for _, s := range f.SideOutputs {
		if tags[s.Tag] {
			return fmt.Errorf("function %s has two outputs with tag %q", f.name(), s.Tag)
		}
		tags[s.Tag] = true
	}
	families := map[string]bool{}
	for _, t := range f.Timers {
		if families[t.Name] {
			return fmt.Errorf("function %s has two timer families %q", f.name(), t.Name)
		}
		families[t.Name] = true
	}
	return nil
}

// checkBatch reports a batch that is not what it says: each element's output has
// to find its batch.
func (f *Function) checkBatch(b *Batch) error {
	if b.Elements < 0 {
		return fmt.Errorf("%s: a batch of %d elements", f.name(), b.Elements)
	}
	if f.OneElement && b.Elements > 1 {
		return fmt.Errorf("%s takes batches of one element, not of %d", f.name(), b.Elements)
	}
	n, missing, err := countFrames(b.Data, b.Elements, false)
	switch {
	case err != nil || missing > 0:
		return fmt.Errorf("%s: the data of a batch is less than its %d elements", f.name(), b.Elements)
	case n < len(b.Data):
		return fmt.Errorf("%s: the data of a batch is more than its %d elements", f.name(), b.Elements)
	}
	return nil
}
