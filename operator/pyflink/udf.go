package pyflink

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pharos-beam/pharos/operator"
)

// URNs of PyFlink's operations and coder.
const (
	urnScalar      = "flink:transform:scalar_function:v1"
	urnAsyncScalar = "flink:transform:async_scalar_function:v1"
	urnTable       = "flink:transform:table_function:v1"
	urnGroup       = "flink:transform:stream_group_aggregate:v1"
	urnGroupTable  = "flink:transform:stream_group_table_aggregate:v1"
	urnGroupWindow = "flink:transform:stream_group_window_aggregate:v1"
	urnPandasGroup = "flink:transform:aggregate_function:arrow:v1"
	urnPandasOver  = "flink:transform:batch_over_window_aggregate_function:arrow:v1"
	urnStateless   = "flink:transform:ds:stateless_function:v1"
	urnStateful    = "flink:transform:ds:stateful_function:v1"
	urnParDo       = "beam:transform:pardo:v1"
	urnCoder       = "flink:coder:v1"
)

// Environment is how the workers of PyFlink's harness are started by the Python
// interpreter of an environment in which PyFlink is installed. timezone is that
// of TIMESTAMP_LTZ and of pandas, such as "UTC".
func Environment(python, timezone string) operator.Environment {
	return operator.Process(python, "-m", "pyflink.fn_execution.beam.beam_boot").With(
		"PYFLINK_GATEWAY_DISABLED", "true",
		"TABLE_LOCAL_TIME_ZONE", timezone,
		"python", python,
	)
}

// UDF is a function and its arguments.
type UDF struct {
	// Payload is the function as PyFlink pickles it.
	Payload []byte
	// Args are the arguments.
	Args []Arg
	// TakesRow says that the function takes the whole row.
	TakesRow bool
	// Window is the number of the window of a function over windows.
	Window int
}

// Arg is an argument of a function. One of its fields counts: Call if it is set,
// then Constant, then Column.
type Arg struct {
	// Column is the number of a column.
	Column int
	// Call is another function, whose result is the argument.
	Call *UDF
	// Constant is a value: a byte that says how to read it (0 as it is, 1 a date,
	// 2 a time, 3 a timestamp) and its pickle.
	Constant []byte
}

// Columns are columns as arguments.
func Columns(numbers ...int) []Arg {
	args := make([]Arg, len(numbers))
	for i, n := range numbers {
		args[i] = Arg{Column: n}
	}
	return args
}

// inputs writes arguments as field 2 of a function.
func inputs(m message, args []Arg, pandas bool) message {
	for _, a := range args {
		var in message
		switch {
		case a.Call != nil:
			in = in.bytes(1, a.Call.proto(pandas))
		case a.Constant != nil:
			in = in.bytes(3, a.Constant)
		default:
			// Zero counts too, for it is one of several.
			in = protowire.AppendVarint(protowire.AppendTag(in, 2, protowire.VarintType), uint64(a.Column))
		}
		m = m.bytes(2, in)
	}
	return m
}

// proto writes a UserDefinedFunction.
func (u UDF) proto(pandas bool) message {
	m := inputs(message(nil).bytes(1, u.Payload), u.Args, pandas)
	return m.int(3, int64(u.Window)).bool(4, u.TakesRow).bool(5, pandas)
}

// Options are what functions of all kinds may be told.
type Options struct {
	// Metrics has the function's metrics reported.
	Metrics bool
	// Profile has the harness profile the function and log the result.
	Profile bool
	// Parameters are job parameters that the function can read.
	Parameters map[string]string
}

// runtimeContext writes what a function learns of where it runs.
func (o Options) runtimeContext() message {
	m := message(nil).bytes(1, []byte("pharos")).bytes(2, []byte("pharos (1/1)")).int(3, 1).int(4, 128)
	return o.parameters(m, 7)
}

// parameters adds job parameters.
func (o Options) parameters(m message, field protowire.Number) message {
	for k, v := range o.Parameters {
		m = m.bytes(field, message(nil).bytes(1, []byte(k)).bytes(2, []byte(v)))
	}
	return m
}

// functions writes UserDefinedFunctions.
func functions(udfs []UDF, pandas bool, o Options) message {
	var m message
	for _, u := range udfs {
		m = m.bytes(1, u.proto(pandas))
	}
	m = m.bool(2, o.Metrics).bool(4, o.Profile)
	return o.parameters(m, 5).bytes(7, o.runtimeContext())
}

// Fields of CoderInfoDescriptor, by format.
const (
	flattenRow protowire.Number = 1
	plainRow   protowire.Number = 2
	arrowBatch protowire.Number = 3
	overWindow protowire.Number = 4
	rawType    protowire.Number = 5
)

// coder describes a Flink coder. Many elements are read at a time if it is
// multiple; endMarks separate what belongs to one input.
func coder(format protowire.Number, schema message, multiple, endMarks bool) operator.Coder {
	m := message(nil).bytes(format, message(nil).bytes(1, schema)).bool(6, multiple).bool(7, endMarks)
	return operator.Coder{URN: urnCoder, Payload: m}
}

// Scalar describes functions of rows that give a column each.
func Scalar(in, out Schema, udfs ...UDF) operator.Function { return Options{}.Scalar(in, out, udfs...) }

// Scalar is like the function of that name.
func (o Options) Scalar(in, out Schema, udfs ...UDF) operator.Function {
	return operator.Function{
		Name: "scalar function", URN: urnScalar, Payload: functions(udfs, false, o),
		Input:  coder(flattenRow, in.proto(), true, false),
		Output: coder(flattenRow, out.proto(), false, false),
	}
}

// Pandas describes vectorised functions, which get and give Arrow batches: an
// element is an IPC stream with one batch, as package operator/arrow encodes it.
func Pandas(in, out Schema, udfs ...UDF) operator.Function { return Options{}.Pandas(in, out, udfs...) }

// Pandas is like the function of that name.
func (o Options) Pandas(in, out Schema, udfs ...UDF) operator.Function {
	return operator.Function{
		Name: "pandas function", URN: urnScalar, Payload: functions(udfs, true, o),
		Input:  coder(arrowBatch, in.proto(), true, false),
		Output: coder(arrowBatch, out.proto(), false, false),
	}
}

// Async are the limits of asynchronous functions.
type Async struct {
	// Concurrent is how many calls are on their way at a time; 10 when zero.
	Concurrent int
	// Timeout bounds a call; 3 minutes when zero.
	Timeout time.Duration
	// Retries is how often a call that failed is tried again, after RetryDelay.
	Retries    int
	RetryDelay time.Duration
}

// AsyncScalar describes an asynchronous function of rows. PyFlink 2.3.0 gives
// wrong results when a bundle has several rows, for its row coder reuses a row
// before the function has seen it. So a batch is one row; as many calls are on
// their way as there are bundles, see operator.Limits.
func (o Options) AsyncScalar(in, out Schema, a Async, udf UDF) operator.Function {
	if a.Concurrent == 0 {
		a.Concurrent = 10
	}
	if a.Timeout == 0 {
		a.Timeout = 3 * time.Minute
	}
	limits := message(nil).int(1, int64(a.Concurrent)).int(2, a.Timeout.Milliseconds())
	if a.Retries > 0 {
		limits = limits.bool(3, true).int(4, int64(a.Retries+1)).int(5, a.RetryDelay.Milliseconds())
	}
	f := o.Scalar(in, out, udf)
	f.Name, f.URN, f.Payload = "async scalar function", urnAsyncScalar, message(f.Payload).bytes(6, limits)
	f.OneElement = true
	return f
}

// Table describes a table function: each input row gives any number of rows,
// which RowCoder.ReadGroups reads.
func Table(in, out Schema, udf UDF) operator.Function { return Options{}.Table(in, out, udf) }

// Table is like the function of that name.
func (o Options) Table(in, out Schema, udf UDF) operator.Function {
	f := o.Scalar(in, out, udf)
	f.Name, f.URN, f.Match = "table function", urnTable, operator.EndMarked
	f.Output = coder(flattenRow, out.proto(), true, true)
	return f
}

// PandasAggregate describes aggregates of groups: an Arrow batch is the rows of
// a group, and gives a batch of one row.
func (o Options) PandasAggregate(in, out Schema, udfs ...UDF) operator.Function {
	f := o.Pandas(in, out, udfs...)
	f.Name, f.URN, f.Payload = "pandas aggregate", urnPandasGroup, functions(udfs, false, o)
	return f
}
