package arrow

import (
	"encoding/json"
	"strings"

	"github.com/pharos-beam/pharos/operator"
)

// URNs that the worker of pharos_beam.udf knows.
const (
	// FunctionsURN applies functions to batches; its payload is JSON.
	FunctionsURN = "pharos:transform:arrow_functions:v1"
	// StreamURN is the coder of batches: an Arrow IPC stream each.
	StreamURN = "pharos:coder:arrow_stream:v1"
)

// Call is a function and the columns that it is called with.
type Call struct {
	// Function is "module:name", or a name that Source defines.
	Function string `json:"function,omitempty"`
	// Source is Python text.
	Source string `json:"source,omitempty"`
	// Pickle is a function that was pickled with cloudpickle.
	Pickle []byte `json:"pickle,omitempty"`
	// Args are the numbers of the columns; all columns when nil.
	Args []int `json:"args"`
	// As is the name of the output column; the function's when empty.
	As string `json:"as,omitempty"`
}

// payload is what the worker reads.
type payload struct {
	Calls []Call `json:"calls"`
	Keys  []int  `json:"keys,omitempty"`
	Keep  bool   `json:"keep,omitempty"`
}

// Function describes scalar, Arrow or pandas functions, each of which gives a
// column, or one table function. The output of a table function begins with the
// column "row": the number of the input row.
func Function(calls ...Call) operator.Function {
	return describe(payload{Calls: calls})
}

// Aggregate describes aggregates of the rows of each batch, grouped by the
// columns with the numbers keys. The output has the keys and a column for each
// call, and a row for each key of the batch.
func Aggregate(keys []int, calls ...Call) operator.Function {
	return describe(payload{Calls: calls, Keys: keys})
}

// Running is like Aggregate over all batches so far: the accumulators are state
// that the operator's backend keeps.
func Running(keys []int, calls ...Call) operator.Function {
	f := describe(payload{Calls: calls, Keys: keys, Keep: true})
	f.Stateful = true
	return f
}

func describe(p payload) operator.Function {
	names := make([]string, len(p.Calls))
	for i, c := range p.Calls {
		if names[i] = c.As; names[i] == "" {
			names[i] = c.Function
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings, bytes and ints have JSON
	}
	coder := operator.Coder{URN: StreamURN}
	return operator.Function{
		Name: strings.Join(names, ", "), URN: FunctionsURN, Payload: b,
		Input: coder, Output: coder, OutputTag: "output", SelfFlushing: true,
	}
}
