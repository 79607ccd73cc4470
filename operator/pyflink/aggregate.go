package pyflink

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pharos-beam/pharos/operator"
)

// Aggregate is an aggregate function and its arguments.
type Aggregate struct {
	// Payload is the function as PyFlink pickles it.
	Payload []byte
	// Args are columns and constants.
	Args []Arg
	// Filter is one more than the number of a BOOLEAN column; only rows where
	// it is true count. Zero for all rows.
	Filter int
	// Distinct says that equal arguments count once.
	Distinct bool
	// TakesRow says that the function takes the whole row.
	TakesRow bool
	// Views are list and map views in the accumulator.
	Views []View
}

// View is a list or a map that an aggregate keeps in state of its own instead of
// in its accumulator.
type View struct {
	// Name is the view's, Field the number of the accumulator's field.
	Name  string
	Field int
	// Elem is the type of a list's elements or a map's values; Key that of a
	// map's keys, nil for a list.
	Key, Elem *Type
}

// proto writes a DataViewSpec.
func (v View) proto() message {
	m := message(nil).bytes(1, []byte(v.Name)).int(2, int64(v.Field))
	if v.Key == nil {
		return m.bytes(3, message(nil).bytes(1, v.Elem.proto()))
	}
	return m.bytes(4, message(nil).bytes(1, v.Key.proto()).bytes(2, v.Elem.proto()))
}

// proto writes a UserDefinedAggregateFunction.
func (a Aggregate) proto() message {
	m := inputs(message(nil).bytes(1, a.Payload), a.Args, false)
	for _, v := range a.Views {
		m = m.bytes(3, v.proto())
	}
	return m.int(4, int64(a.Filter)-1).bool(5, a.Distinct).bool(6, a.TakesRow)
}

// Caches of state in the harness, in entries; the defaults of Flink.
const (
	stateCacheSize    = 1000
	mapStateCacheSize = 1000
)

// Group describes aggregates by key over a changelog: its rows are inserted,
// updated and deleted. The output is a changelog of the keys and the results.
type Group struct {
	Options
	// Input are the columns.
	Input Schema
	// Keys are the numbers of the columns that group rows.
	Keys []int
	// Results are the columns of the results, behind the keys.
	Results Schema
	// Aggregates are the functions.
	Aggregates []Aggregate
	// UpdateBefore asks for the old row before each update.
	UpdateBefore bool
	// CountStar is one more than the number of the aggregate that counts rows;
	// when it reaches zero the key is deleted. Zero if rows are only inserted.
	CountStar int
}

// keys are the columns that group rows.
func (g *Group) keys() Schema {
	s := make(Schema, len(g.Keys))
	for i, k := range g.Keys {
		s[i] = g.Input[k]
	}
	return s
}

// output are the columns of the output.
func (g *Group) output() Schema { return append(g.keys(), g.Results...) }

// proto writes UserDefinedAggregateFunctions.
func (g *Group) proto(w *Window) message {
	var m message
	for _, a := range g.Aggregates {
		m = m.bytes(1, a.proto())
	}
	var grouping message
	for _, k := range g.Keys {
		grouping = protowire.AppendVarint(grouping, uint64(k))
	}
	m = m.bool(2, g.Metrics).bytes(3, grouping).bool(4, g.UpdateBefore).bytes(5, RowOf(g.keys()...).proto()).
		int(6, int64(g.CountStar)-1).
		int(8, stateCacheSize).int(9, mapStateCacheSize).int(10, mapStateCacheSize)
	if w != nil {
		m = m.bytes(12, w.proto())
	}
	m = m.bool(13, g.Profile)
	return g.parameters(m, 14).bytes(15, g.runtimeContext())
}

// wrapped are the columns of what travels to the harness: what it is, a row, the
// time and key of a timer.
func (g *Group) wrapped() Schema {
	return Schema{
		{"record_type", TinyInt}, {"row_data", RowOf(g.Input...)},
		{"timestamp", BigInt}, {"key", RowOf(g.keys()...)},
	}
}

// Function describes the aggregates. table says that they are table aggregates,
// which give any number of rows for each key.
func (g *Group) Function(table bool) operator.Function {
	f := operator.Function{
		Name: "group aggregate", URN: urnGroup, Payload: g.proto(nil),
		Input:    coder(plainRow, g.wrapped().proto(), true, false),
		Output:   coder(plainRow, g.output().proto(), true, false),
		Stateful: true, Match: operator.Loose, States: States{},
	}
	if table {
		f.Name, f.URN = "group table aggregate", urnGroupTable
	}
	return f
}

// Batch makes a batch of rows of a changelog.
func (g *Group) Batch(rows ...Row) (operator.Batch, error) {
	c, err := NewRowCoder(g.wrapped())
	if err != nil {
		return operator.Batch{}, err
	}
	wrapped := make([]Row, len(rows))
	for i, r := range rows {
		wrapped[i] = Values(int8(recordNormal), r, nil, nil)
	}
	return c.Batch(wrapped...)
}

// Read reads the changelog of the results.
func (g *Group) Read(data []byte) ([]Row, error) {
	c, err := NewRowCoder(g.output())
	if err != nil {
		return nil, err
	}
	return c.Read(data)
}

// What a record is, in the first field of wrapped rows.
const (
	recordNormal = 0
	recordTimer  = 1
)
