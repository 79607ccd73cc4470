package main

/*
#include <stdint.h>
#include <stdlib.h>
void pharosChunk(void *, void *, void *);
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"

	arr "github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	duckdb "github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/pharos-beam/pharos/operator/arrow"
)

// register makes name a SQL function of a number of BIGINT columns that gives a
// BIGINT, which op computes chunk by chunk.
func register(conn mapping.Connection, name string, columns int, op *arrow.Operator) error {
	bigint := mapping.CreateLogicalType(mapping.Type(duckdb.TYPE_BIGINT))
	defer mapping.DestroyLogicalType(&bigint)
	f := mapping.CreateScalarFunction()
	defer mapping.DestroyScalarFunction(&f)
	mapping.ScalarFunctionSetName(f, name)
	for range columns {
		mapping.ScalarFunctionAddParameter(f, bigint)
	}
	mapping.ScalarFunctionSetReturnType(f, bigint)
	mapping.ScalarFunctionSetVolatile(f)
	mapping.ScalarFunctionSetSpecialHandling(f) // nulls are Python's business
	handle := (*C.uintptr_t)(C.malloc(C.size_t(unsafe.Sizeof(C.uintptr_t(0)))))
	*handle = C.uintptr_t(cgo.NewHandle(op)) // for as long as this process runs
	mapping.ScalarFunctionSetExtraInfo(f, unsafe.Pointer(handle), C.free)
	mapping.ScalarFunctionSetFunction(f, unsafe.Pointer(C.pharosChunk))
	if mapping.RegisterScalarFunction(conn, f) != mapping.StateSuccess {
		return fmt.Errorf("DuckDB refused the function %s", name)
	}
	return nil
}

// pharosChunk is called by DuckDB's threads with a chunk of at most 2,048 rows.
//
//export pharosChunk
func pharosChunk(info, input, output unsafe.Pointer) {
	f := mapping.FunctionInfo{Ptr: info}
	handle := *(*C.uintptr_t)(mapping.ScalarFunctionGetExtraInfo(f))
	op := cgo.Handle(handle).Value().(*arrow.Operator)
	if err := callChunk(op, mapping.DataChunk{Ptr: input}, mapping.Vector{Ptr: output}); err != nil {
		mapping.ScalarFunctionSetError(f, err.Error())
	}
}

// callChunk calls op with the chunk's columns. They are not copied until they
// are on their way: DuckDB's vectors have the layout of Arrow's arrays.
func callChunk(op *arrow.Operator, in mapping.DataChunk, out mapping.Vector) error {
	n := int(mapping.DataChunkGetSize(in))
	fields := make([]arr.Field, int(mapping.DataChunkGetColumnCount(in)))
	columns := make([]arr.Array, len(fields))
	for i := range fields {
		fields[i] = arr.Field{Name: fmt.Sprintf("c%d", i), Type: arr.PrimitiveTypes.Int64, Nullable: true}
		columns[i] = column(mapping.DataChunkGetVector(in, mapping.IdxT(i)), n)
	}
	result, err := op.Call(context.Background(), array.NewRecordBatch(arr.NewSchema(fields, nil), columns, int64(n)))
	if err != nil {
		return err
	}
	defer result.Release()
	values, ok := result.Column(0).(*array.Int64)
	if !ok || values.Len() != n {
		return errors.New("the function did not return as many integers as it got rows")
	}
	copy(unsafe.Slice((*int64)(mapping.VectorGetData(out)), n), values.Int64Values())
	if values.NullN() > 0 {
		mapping.VectorEnsureValidityWritable(out)
		mask := mapping.VectorGetValidity(out)
		for i := range n {
			if values.IsNull(i) {
				mapping.ValiditySetRowInvalid(mask, mapping.IdxT(i))
			}
		}
	}
	return nil
}

// column makes an Arrow array of a vector, in place.
func column(v mapping.Vector, n int) arr.Array {
	data := unsafe.Slice((*byte)(mapping.VectorGetData(v)), 8*n)
	var valid *memory.Buffer
	nulls := 0
	if mask := mapping.VectorGetValidity(v); mask != nil {
		valid = memory.NewBufferBytes(unsafe.Slice((*byte)(mask), (n+63)/64*8))
		nulls = array.UnknownNullCount
	}
	buffers := []*memory.Buffer{valid, memory.NewBufferBytes(data)}
	return array.NewInt64Data(array.NewData(arr.PrimitiveTypes.Int64, n, buffers, nil, nulls, 0))
}
