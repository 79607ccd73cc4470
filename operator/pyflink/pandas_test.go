package pyflink_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	arr "github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
	"github.com/pharos-beam/pharos/operator/pyflink"
)

// arrowType is the Arrow type of a SQL type.
func arrowType(t pyflink.Type) arr.DataType {
	switch t.Kind {
	case pyflink.KindTinyInt:
		return arr.PrimitiveTypes.Int8
	case pyflink.KindSmallInt:
		return arr.PrimitiveTypes.Int16
	case pyflink.KindInt:
		return arr.PrimitiveTypes.Int32
	case pyflink.KindBigInt:
		return arr.PrimitiveTypes.Int64
	case pyflink.KindFloat:
		return arr.PrimitiveTypes.Float32
	case pyflink.KindDouble:
		return arr.PrimitiveTypes.Float64
	case pyflink.KindBoolean:
		return arr.FixedWidthTypes.Boolean
	case pyflink.KindDecimal:
		return &arr.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}
	case pyflink.KindVarChar:
		return arr.BinaryTypes.String
	case pyflink.KindVarBinary:
		return arr.BinaryTypes.Binary
	case pyflink.KindDate:
		return arr.FixedWidthTypes.Date32
	case pyflink.KindTime:
		return arr.FixedWidthTypes.Time32ms
	case pyflink.KindTimestamp:
		return &arr.TimestampType{Unit: arr.Millisecond}
	case pyflink.KindArray:
		return arr.ListOf(arrowType(*t.Elem))
	}
	panic(fmt.Sprintf("no Arrow type for %+v", t))
}

// put appends a Go value to a builder.
func put(b array.Builder, v any) {
	if v == nil {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(v.(int8))
	case *array.Int16Builder:
		b.Append(v.(int16))
	case *array.Int32Builder:
		b.Append(v.(int32))
	case *array.Int64Builder:
		b.Append(v.(int64))
	case *array.Float32Builder:
		b.Append(v.(float32))
	case *array.Float64Builder:
		b.Append(v.(float64))
	case *array.BooleanBuilder:
		b.Append(v.(bool))
	case *array.Decimal128Builder:
		t := b.Type().(*arr.Decimal128Type)
		n, err := decimal128.FromString(string(v.(pyflink.Decimal)), t.Precision, t.Scale)
		if err != nil {
			panic(err)
		}
		b.Append(n)
	case *array.StringBuilder:
		b.Append(v.(string))
	case *array.BinaryBuilder:
		b.Append(v.([]byte))
	case *array.Date32Builder:
		b.Append(arr.Date32FromTime(v.(time.Time)))
	case *array.Time32Builder:
		b.Append(arr.Time32(v.(time.Duration).Milliseconds()))
	case *array.TimestampBuilder:
		b.Append(arr.Timestamp(v.(time.Time).UnixMilli()))
	case *array.ListBuilder:
		b.Append(true)
		for _, x := range v.([]any) {
			put(b.ValueBuilder(), x)
		}
	default:
		panic(fmt.Sprintf("cannot build %T", b))
	}
}

// get is the reverse of put.
func get(a arr.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.Int8:
		return a.Value(i)
	case *array.Int16:
		return a.Value(i)
	case *array.Int32:
		return a.Value(i)
	case *array.Int64:
		return a.Value(i)
	case *array.Float32:
		return a.Value(i)
	case *array.Float64:
		return a.Value(i)
	case *array.Boolean:
		return a.Value(i)
	case *array.Decimal128:
		return pyflink.Decimal(a.Value(i).ToString(a.DataType().(*arr.Decimal128Type).Scale))
	case *array.String:
		return a.Value(i)
	case *array.Binary:
		return bytes.Clone(a.Value(i))
	case *array.Date32:
		return a.Value(i).ToTime()
	case *array.Time32:
		return time.Duration(a.Value(i)) * a.DataType().(*arr.Time32Type).Unit.Multiplier()
	case *array.Timestamp:
		return a.Value(i).ToTime(a.DataType().(*arr.TimestampType).Unit)
	case *array.List:
		lo, hi := a.ValueOffsets(i)
		all := []any{}
		for j := lo; j < hi; j++ {
			all = append(all, get(a.ListValues(), int(j)))
		}
		return all
	case *array.Map:
		lo, hi := a.ValueOffsets(i)
		all := map[any]any{}
		for j := lo; j < hi; j++ {
			all[get(a.Keys(), int(j))] = get(a.Items(), int(j))
		}
		return all
	}
	panic(fmt.Sprintf("cannot read %T", a))
}

// batch makes a record batch of rows.
func batch(s pyflink.Schema, rows []pyflink.Row) arr.RecordBatch {
	fields := make([]arr.Field, len(s))
	for i, f := range s {
		fields[i] = arr.Field{Name: f.Name, Type: arrowType(f.Type), Nullable: true}
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arr.NewSchema(fields, nil))
	defer b.Release()
	for _, r := range rows {
		for i, v := range r.Fields {
			put(b.Field(i), v)
		}
	}
	return b.NewRecordBatch()
}

// rowsOf is the reverse of batch.
func rowsOf(b arr.RecordBatch) []pyflink.Row {
	rows := make([]pyflink.Row, b.NumRows())
	for i := range rows {
		for _, c := range b.Columns() {
			rows[i].Fields = append(rows[i].Fields, get(c, i))
		}
	}
	return rows
}

// callArrow sends a batch and waits.
func callArrow(t *testing.T, op *operator.Operator, s pyflink.Schema, rows []pyflink.Row) []pyflink.Row {
	t.Helper()
	b, err := (&arrow.Operator{Operator: op}).Call(deadline(t), batch(s, rows))
	if err != nil {
		t.Fatal(err)
	}
	return rowsOf(b)
}

func pandasCase(t *testing.T, s *suite, e *example) {
	op := s.open(t, pyflink.Pandas(ab, ab[:1], pyflink.UDF{Payload: e.payload(0), Args: pyflink.Columns(0, 1)}))
	same(t, texts(callArrow(t, op, ab, e.input(ab))), texts(e.output(ab[:1])))
}

func pandasTypesCase(t *testing.T, s *suite, e *example) {
	var columns pyflink.Schema
	for _, f := range allTypes {
		switch f.Name {
		case "q", "x", "w", "c":
		default:
			columns = append(columns, f)
		}
	}
	op := s.open(t, pyflink.Pandas(columns, columns, perColumn(e, columns)...))
	same(t, texts(callArrow(t, op, columns, e.input(columns))), texts(e.output(columns)))
}

// partitions are the rows by b, in the order of a.
func partitions(rows []pyflink.Row) map[int64][]pyflink.Row {
	parts := map[int64][]pyflink.Row{}
	for _, r := range rows {
		k := r.Fields[1].(int64)
		parts[k] = append(parts[k], r)
	}
	for _, p := range parts {
		slices.SortFunc(p, func(x, y pyflink.Row) int { return cmp.Compare(x.Fields[0].(int64), y.Fields[0].(int64)) })
	}
	return parts
}

func pandasGroupCase(t *testing.T, s *suite, e *example) {
	f := pyflink.Options{}.PandasAggregate(ab, ab[:1], pyflink.UDF{Payload: e.payload(0), Args: pyflink.Columns(0)})
	op := s.open(t, f)
	var got []pyflink.Row
	for key, rows := range partitions(e.input(ab)) {
		r := callArrow(t, op, ab, rows)
		got = append(got, pyflink.Values(key, r[0].Fields[0]))
	}
	same(t, sorted(got), sorted(e.output(pairOut)))
}

func pandasOverCase(t *testing.T, s *suite, e *example) {
	out := pyflink.Schema{{Name: "x", Type: pyflink.BigInt}, {Name: "y", Type: pyflink.BigInt}}
	windows := []pyflink.Over{{Kind: pyflink.RowSliding, Lower: -2}, {Kind: pyflink.RangeSliding}}
	f := pyflink.Options{}.PandasOver(ab, out, windows,
		pyflink.UDF{Payload: e.payload(0), Args: pyflink.Columns(0)},
		pyflink.UDF{Payload: e.payload(0), Args: pyflink.Columns(0), Window: 1},
	)
	op := s.open(t, f)
	var got []pyflink.Row
	for _, rows := range partitions(e.input(ab)) {
		var bounds []int32
		for i, r := range rows {
			first := i
			for first > 0 && rows[first-1].Fields[0].(int64) >= r.Fields[0].(int64)-20000 {
				first--
			}
			bounds = append(bounds, int32(first), int32(i+1))
		}
		data, err := arrow.Encode(batch(ab, rows))
		if err != nil {
			t.Fatal(err)
		}
		stream, _, _ := operator.NextElement(data)
		b, err := arrow.Decode(call(t, op, operator.Batch{Data: pyflink.OverElement([][]int32{bounds}, stream), Elements: 1}, nil))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rowsOf(b) {
			got = append(got, pyflink.Values(append(slices.Clone(rows[i].Fields), r.Fields...)...))
		}
	}
	same(t, sorted(got), sorted(e.output(append(slices.Clone(ab), out...))))
}
