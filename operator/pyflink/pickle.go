package pyflink

import "encoding/binary"

// ScalarSource makes the payload of a scalar function of a Python expression
// that gives it, such as "lambda a, b: a + b".
func ScalarSource(expression string) []byte {
	return delegate("DelegatingScalarFunction", expression)
}

// TableSource is like ScalarSource for a table function.
func TableSource(expression string) []byte {
	return delegate("DelegationTableFunction", expression)
}

// Pickle opcodes, see Python's pickletools.
const (
	opProto      = "\x80\x02"
	opEmptyTuple = ")"
	opNewObject  = "\x81"
	opEmptyDict  = "}"
	opUnicode    = "X"
	opTuple1     = "\x85"
	opReduce     = "R"
	opSetItem    = "s"
	opBuild      = "b"
	opStop       = "."
)

// global loads a name of a module.
func global(module, name string) string { return "c" + module + "\n" + name + "\n" }

// text pushes a string.
func text(s string) string {
	return opUnicode + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// delegate pickles an object of a class of pyflink.table.udf whose func is what
// the expression gives.
func delegate(class, expression string) []byte {
	return []byte(opProto + global("pyflink.table.udf", class) + opEmptyTuple + opNewObject +
		opEmptyDict + text("func") + evaluated(expression) + opSetItem + opBuild + opStop)
}

// evaluated is what Python's eval gives for an expression.
func evaluated(expression string) string {
	return global("builtins", "eval") + text(expression) + opTuple1 + opReduce
}

// Source makes a payload of a Python expression that gives the object itself,
// such as an aggregate function.
func Source(expression string) []byte { return []byte(opProto + evaluated(expression) + opStop) }
