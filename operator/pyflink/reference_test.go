package pyflink_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/operatortest"
	"github.com/pharos-beam/pharos/operator/pyflink"
)

// referenceVar asks for the comparison with Flink, which takes minutes.
const referenceVar = "PHAROS_FLINK_REFERENCE"

// referenceTimeout bounds the jobs on Flink.
const referenceTimeout = 30 * time.Minute

// example is a case of testdata/reference.py.
type example struct {
	Payloads  []string
	Constants []string
	Input     []any
	Output    [][2]any // kind and fields
	Error     string
}

// payload is the i-th function, as PyFlink pickled it.
func (e *example) payload(i int) []byte { return unbase64(e.Payloads[i]) }

func unbase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// referenceFile is what Flink returned when reference.py was last changed.
const referenceFile = "testdata/reference.json"

// reference returns what Flink returns for the cases: as kept in referenceFile,
// or, if that is asked for, from Flink now. That is kept only if reference.py has
// changed, for where order means nothing it differs from run to run.
func reference(t *testing.T) map[string]*example {
	t.Helper()
	python := operatortest.Python(t, "pyflink")
	script, err := os.ReadFile("testdata/reference.py")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(script)
	made, cases := readReference(t, referenceFile)
	current := made == hex.EncodeToString(sum[:])
	switch {
	case os.Getenv(referenceVar) != "":
		fresh := filepath.Join(t.TempDir(), "reference.json")
		runReference(t, python, fresh)
		_, cases = readReference(t, fresh)
		if !current {
			keepReference(t, fresh)
		}
	case !current:
		t.Fatalf("testdata/reference.py is not what made %s: run make test-operator", referenceFile)
	}
	return cases
}

// readReference returns the cases in a file, and the hash of the script that made
// it.
func readReference(t *testing.T, name string) (script string, cases map[string]*example) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // 64 bits
	var kept struct {
		Script string
		Cases  map[string]*example
	}
	if err := d.Decode(&kept); err != nil {
		t.Fatal(err)
	}
	return kept.Script, kept.Cases
}

// keepReference makes a file the one that is kept.
func keepReference(t *testing.T, name string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(referenceFile, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// runReference runs the cases on Flink, and writes what they return to a file.
func runReference(t *testing.T, python, file string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), referenceTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "testdata/reference.py", file)
	cmd.WaitDelay = time.Minute // Flink's process ends a while after the script
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("run the functions on Flink: %v\n%s", err, out)
	}
}

// value makes a Go value of what reference.py's plain made JSON of.
func value(t pyflink.Type, v any) any {
	if v == nil {
		return nil
	}
	switch t.Kind {
	case pyflink.KindTinyInt:
		return int8(number(v))
	case pyflink.KindSmallInt:
		return int16(number(v))
	case pyflink.KindInt:
		return int32(number(v))
	case pyflink.KindBigInt:
		return number(v)
	case pyflink.KindFloat:
		return float32(float(v))
	case pyflink.KindDouble:
		return float(v)
	case pyflink.KindDecimal:
		return pyflink.Decimal(v.(string))
	case pyflink.KindBinary, pyflink.KindVarBinary:
		b, _ := hex.DecodeString(v.(string))
		return b
	case pyflink.KindDate:
		day, _ := time.Parse(time.DateOnly, v.(string))
		return day
	case pyflink.KindTime:
		return time.Duration(number(v)) * time.Millisecond
	case pyflink.KindTimestamp, pyflink.KindLocalTimestamp:
		return time.UnixMicro(number(v)).UTC()
	}
	return nested(t, v)
}

// nested is value for types with components.
func nested(t pyflink.Type, v any) any {
	switch t.Kind {
	case pyflink.KindArray:
		all := []any{}
		for _, x := range v.([]any) {
			all = append(all, value(*t.Elem, x))
		}
		return all
	case pyflink.KindMap:
		m := map[any]any{}
		for _, e := range v.([]any) {
			m[value(*t.Key, e.([]any)[0])] = value(*t.Elem, e.([]any)[1])
		}
		return m
	case pyflink.KindRow:
		return row(t.Fields, v)
	}
	return v
}

func number(v any) int64 {
	n, err := v.(json.Number).Int64()
	if err != nil {
		panic(err)
	}
	return n
}

func float(v any) float64 {
	f, err := v.(json.Number).Float64()
	if err != nil {
		panic(err)
	}
	return f
}

// row makes a row of JSON.
func row(s pyflink.Schema, v any) pyflink.Row {
	fields := v.([]any)
	r := pyflink.Row{Fields: make([]any, len(fields))}
	for i := range fields {
		r.Fields[i] = value(s[i].Type, fields[i])
	}
	return r
}

// input is the example's input as rows.
func (e *example) input(s pyflink.Schema) []pyflink.Row {
	rows := make([]pyflink.Row, len(e.Input))
	for i, v := range e.Input {
		rows[i] = row(s, v)
	}
	return rows
}

// output is the changelog that Flink returned.
func (e *example) output(s pyflink.Schema) []pyflink.Row {
	rows := make([]pyflink.Row, len(e.Output))
	for i, o := range e.Output {
		rows[i] = row(s, o[1])
		rows[i].Kind = pyflink.RowKind(number(o[0]))
	}
	return rows
}

// texts are rows to compare and to print.
func texts(rows []pyflink.Row) []string {
	all := make([]string, len(rows))
	for i, r := range rows {
		all[i] = fmt.Sprintf("%d %#v", r.Kind, r.Fields)
	}
	return all
}

// folded is what is left of a changelog, in no order.
func folded(rows []pyflink.Row) []string {
	count := map[string]int{}
	for _, r := range rows {
		key := fmt.Sprintf("%#v", r.Fields)
		if r.Kind == pyflink.UpdateBefore || r.Kind == pyflink.Delete {
			count[key]--
		} else {
			count[key]++
		}
	}
	maps.DeleteFunc(count, func(_ string, n int) bool { return n == 0 })
	var all []string
	for k, n := range count {
		all = append(all, fmt.Sprintf("%s x%d", k, n))
	}
	slices.Sort(all)
	return all
}

// sorted are rows in no order.
func sorted(rows []pyflink.Row) []string {
	all := texts(rows)
	slices.Sort(all)
	return all
}

// same compares what the harness returned with what Flink did.
func same(t *testing.T, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("row %d is\n%s\nFlink has\n%s", i, got[i], want[i])
		}
	}
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("%d rows, Flink has %d", len(got), len(want))
	}
}

// suite is a pool and the reference.
type suite struct {
	pool *operator.Pool
	all  map[string]*example
}

// open opens f for a test.
func (s *suite) open(t *testing.T, f operator.Function) *operator.Operator {
	t.Helper()
	op, err := s.pool.Open(deadline(t), f, operator.Limits{Bundles: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(op.Close)
	return op
}

// call sends a batch and waits.
func call(t *testing.T, op *operator.Operator, b operator.Batch, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	r, err := op.Call(deadline(t), b)
	if err != nil {
		t.Fatal(err)
	}
	return r.Data
}

func TestAgainstFlink(t *testing.T) {
	s := &suite{all: reference(t)}
	s.pool = pool(t, operator.PoolOptions{Workers: 2})
	for name, test := range map[string]func(*testing.T, *suite, *example){
		"scalar": scalarCase, "types": typesCase, "table": tableCase, "asynchronous": asyncCase,
		"pandas": pandasCase, "pandas_types": pandasTypesCase, "group": groupCase, "group_table": groupTableCase,
		"tumbling": tumblingCase, "session": sessionCase, "pandas_group": pandasGroupCase, "pandas_over": pandasOverCase,
		"sliding": slidingCase, "stream_tumbling": streamWindowCase, "stream_sliding": streamWindowCase, "stream_session": streamWindowCase,
		"co_process": coProcessCase, "keyed_co_process": keyedCoProcessCase, "broadcast": broadcastCase, "keyed_broadcast": keyedBroadcastCase,
		"exception": exceptionCase, "exits": exitsCase, "process": processCase, "keyed": keyedCase,
	} {
		t.Run(name, func(t *testing.T) {
			e := s.all[name]
			if e == nil {
				t.Fatal("Flink did not run it")
			}
			test(t, s, e)
		})
	}
}

func scalarCase(t *testing.T, s *suite, e *example) {
	out := pyflink.Schema{{Name: "x", Type: pyflink.BigInt}, {Name: "y", Type: pyflink.BigInt}}
	double := &pyflink.UDF{Payload: e.payload(1), Args: pyflink.Columns(0)}
	op := s.open(t, pyflink.Scalar(ab, out,
		pyflink.UDF{Payload: e.payload(0), Args: pyflink.Columns(0, 1)},
		pyflink.UDF{Payload: e.payload(0), Args: []pyflink.Arg{{Call: double}, {Constant: unbase64(e.Constants[0])}}},
	))
	compareRows(t, op, ab, out, e)
}

// compareRows sends all rows through a function by row.
func compareRows(t *testing.T, op *operator.Operator, in, out pyflink.Schema, e *example) {
	t.Helper()
	same(t, texts(callRows(t, op, in, out, e.input(in))), texts(e.output(out)))
}

// callRows sends a batch of rows and waits.
func callRows(t *testing.T, op *operator.Operator, in, out pyflink.Schema, rows []pyflink.Row) []pyflink.Row {
	t.Helper()
	c, err := pyflink.NewRowCoder(in)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pyflink.NewRowCoder(out)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Batch(rows...)
	got, err := r.Read(call(t, op, b, err))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// allTypes are the columns of reference.py's TYPES.
var allTypes = pyflink.Schema{
	{Name: "t", Type: pyflink.TinyInt}, {Name: "s", Type: pyflink.SmallInt}, {Name: "i", Type: pyflink.Int},
	{Name: "l", Type: pyflink.BigInt}, {Name: "f", Type: pyflink.Float}, {Name: "d", Type: pyflink.Double},
	{Name: "o", Type: pyflink.Boolean}, {Name: "e", Type: pyflink.DecimalOf(20, 4)}, {Name: "v", Type: pyflink.String},
	{Name: "y", Type: pyflink.VarBinary}, {Name: "a", Type: pyflink.Date}, {Name: "m", Type: pyflink.Time},
	{Name: "p", Type: pyflink.Timestamp(3)}, {Name: "q", Type: pyflink.Timestamp(6)},
	{Name: "r", Type: pyflink.ArrayOf(pyflink.BigInt)},
	{Name: "x", Type: pyflink.MapOf(pyflink.String, pyflink.Int)},
	{Name: "w", Type: pyflink.RowOf(pyflink.Field{Name: "n", Type: pyflink.BigInt}, pyflink.Field{Name: "t", Type: pyflink.String})},
	{Name: "c", Type: pyflink.ArrayOf(pyflink.ArrayOf(pyflink.String))},
}

// perColumn calls the example's function for each column.
func perColumn(e *example, s pyflink.Schema) []pyflink.UDF {
	udfs := make([]pyflink.UDF, len(s))
	for i := range s {
		udfs[i] = pyflink.UDF{Payload: e.payload(0), Args: pyflink.Columns(i)}
	}
	return udfs
}

// typesCase compares all types. Flink's client cuts timestamps to milliseconds,
// so here ours are too; TestRoundTrip has all their digits.
func typesCase(t *testing.T, s *suite, e *example) {
	op := s.open(t, pyflink.Scalar(allTypes, allTypes, perColumn(e, allTypes)...))
	rows := callRows(t, op, allTypes, allTypes, e.input(allTypes))
	want := e.output(allTypes)
	for _, r := range slices.Concat(rows, want) {
		if at, ok := r.Fields[13].(time.Time); ok {
			r.Fields[13] = at.Truncate(time.Millisecond)
		}
	}
	same(t, texts(rows), texts(want))
}

func tableCase(t *testing.T, s *suite, e *example) {
	out := pyflink.Schema{{Name: "n", Type: pyflink.BigInt}, {Name: "s", Type: pyflink.String}}
	op := s.open(t, pyflink.Table(ab, out, pyflink.UDF{Payload: e.payload(0), Args: pyflink.Columns(0, 1)}))
	in, _ := pyflink.NewRowCoder(ab)
	r, _ := pyflink.NewRowCoder(out)
	rows := e.input(ab)
	b, err := in.Batch(rows...)
	groups, err := r.ReadGroups(call(t, op, b, err))
	if err != nil || len(groups) != len(rows) {
		t.Fatal(err, len(groups))
	}
	var joined []pyflink.Row
	for i, group := range groups {
		for _, g := range group {
			joined = append(joined, pyflink.Values(append(slices.Clone(rows[i].Fields), g.Fields...)...))
		}
	}
	same(t, texts(joined), texts(e.output(append(slices.Clone(ab), out...))))
}

// asyncCase has many bundles of one row on their way.
func asyncCase(t *testing.T, s *suite, e *example) {
	f := pyflink.Options{}.AsyncScalar(ab, ab[:1], pyflink.Async{}, pyflink.UDF{Payload: e.payload(0), Args: pyflink.Columns(0, 1)})
	ctx := deadline(t)
	op, err := s.pool.Open(ctx, f, operator.Limits{Bundles: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	in, _ := pyflink.NewRowCoder(ab)
	out, _ := pyflink.NewRowCoder(ab[:1])
	rows := e.input(ab)
	for _, r := range rows {
		b, err := in.Batch(r)
		if err == nil {
			err = op.Send(ctx, b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []pyflink.Row
	for range rows {
		r, err := op.Receive(ctx)
		if err != nil || r.Err != nil {
			t.Fatal(err, r.Err)
		}
		one, err := out.Read(r.Data)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, one...)
	}
	same(t, texts(got), texts(e.output(ab[:1])))
}

// sums is a group aggregate of the sum of a by b.
func sums(e *example) pyflink.Group {
	return pyflink.Group{
		Input: ab, Keys: []int{1}, Results: pyflink.Schema{{Name: "r", Type: pyflink.BigInt}}, UpdateBefore: true,
		Aggregates: []pyflink.Aggregate{{Payload: e.payload(0), Args: pyflink.Columns(0)}},
	}
}

var pairOut = pyflink.Schema{{Name: "b", Type: pyflink.BigInt}, {Name: "r", Type: pyflink.BigInt}}

func groupCase(t *testing.T, s *suite, e *example)      { groupBy(t, s, e, false) }
func groupTableCase(t *testing.T, s *suite, e *example) { groupBy(t, s, e, true) }

// groupBy sends rows in several bundles and compares what is left of the
// changelog: how many updates there are depends on the bundles.
func groupBy(t *testing.T, s *suite, e *example, table bool) {
	g := sums(e)
	op := s.open(t, g.Function(table))
	var got []pyflink.Row
	for part := range slices.Chunk(e.input(ab), 33) {
		b, err := g.Batch(part...)
		rows, err := g.Read(call(t, op, b, err))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rows...)
	}
	same(t, folded(got), folded(e.output(pairOut)))
}

func tumblingCase(t *testing.T, s *suite, e *example) {
	windowBy(t, s, e, pyflink.Window{Kind: pyflink.Tumbling, Size: 4 * time.Second})
}

func slidingCase(t *testing.T, s *suite, e *example) {
	windowBy(t, s, e, pyflink.Window{Kind: pyflink.Sliding, Size: 6 * time.Second, Slide: 2 * time.Second})
}

func sessionCase(t *testing.T, s *suite, e *example) {
	windowBy(t, s, e, pyflink.Window{Kind: pyflink.Session, Gap: 5 * time.Second})
}

func windowBy(t *testing.T, s *suite, e *example, w pyflink.Window) {
	in := append(slices.Clone(ab), pyflink.Field{Name: "ts", Type: pyflink.Timestamp(3)})
	w.TimeField, w.Properties = 2, []pyflink.WindowProperty{pyflink.WindowStart, pyflink.WindowEnd}
	g := &pyflink.GroupWindow{Group: sums(e), Window: w}
	g.Input = in
	f, err := g.Function()
	if err != nil {
		t.Fatal(err)
	}
	op := s.open(t, f)
	ctx := deadline(t)
	var got []pyflink.Row
	watermark := int64(pyflink.NoWatermark)
	for _, r := range e.input(in) {
		b, err := g.Batch(watermark, r)
		rows, err := g.Read(call(t, op, b, err))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rows...)
		watermark = r.Fields[2].(time.Time).UnixMilli()
		got = append(got, advance(t, ctx, op, g, watermark)...)
	}
	got = append(got, advance(t, ctx, op, g, 1<<62)...)
	for _, r := range got {
		for i := 2; i < 4; i++ {
			r.Fields[i] = time.UnixMilli(r.Fields[i].(int64)).UTC()
		}
	}
	out := append(slices.Clone(pairOut), pyflink.Field{Name: "s", Type: pyflink.Timestamp(3)}, pyflink.Field{Name: "e", Type: pyflink.Timestamp(3)})
	same(t, sorted(got), sorted(e.output(out)))
}

// advance moves the watermark and returns what it made fire.
func advance(t *testing.T, ctx context.Context, op *operator.Operator, g *pyflink.GroupWindow, at int64) []pyflink.Row {
	t.Helper()
	if err := op.Watermark(ctx, at); err != nil {
		t.Fatal(err)
	}
	r, err := op.Receive(ctx)
	if err != nil || r.Err != nil {
		t.Fatal(err, r.Err)
	}
	rows, err := g.Read(r.Data)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func exceptionCase(t *testing.T, s *suite, e *example) {
	op := s.open(t, pyflink.Scalar(ab, ab[:1], pyflink.UDF{Payload: e.payload(0), Args: pyflink.Columns(0, 1)}))
	in, _ := pyflink.NewRowCoder(ab)
	b, err := in.Batch(e.input(ab)...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = op.Call(deadline(t), b)
	var fe *operator.FunctionError
	if !errors.As(err, &fe) || !strings.Contains(e.Error, "ValueError: boom at 4919") || !strings.HasSuffix(err.Error(), "ValueError: boom at 4919") {
		t.Fatalf("%v; Flink has\n%s", err, e.Error)
	}
	// The line of the function that raised it is in both tracebacks.
	if line := "in boom"; !strings.Contains(fe.Traceback, line) || !strings.Contains(e.Error, line) {
		t.Fatal(fe.Traceback)
	}
}

func exitsCase(t *testing.T, s *suite, e *example) {
	op := s.open(t, pyflink.Scalar(ab, ab[:1], pyflink.UDF{Payload: e.payload(0), Args: pyflink.Columns(0, 1)}))
	in, _ := pyflink.NewRowCoder(ab)
	b, err := in.Batch(pyflink.Values(int64(1), int64(2)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = op.Call(deadline(t), b)
	var we *operator.WorkerError
	if !errors.As(err, &we) || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatal(err)
	}
}

// events are the example's pairs as events at their second value, in seconds.
func (e *example) events(keyed bool) []pyflink.Event {
	all := make([]pyflink.Event, len(e.Input))
	for i, v := range e.Input {
		k, n := number(v.([]any)[0]), number(v.([]any)[1])
		at := n * 1000
		all[i] = pyflink.Event{Time: &at, Value: []any{k, n}}
		if keyed {
			all[i].Key = k
		}
	}
	return all
}

// lines are the strings that Flink returned.
func (e *example) lines() []string {
	all := make([]string, len(e.Output))
	for i, o := range e.Output {
		all[i] = o[1].(string)
	}
	return all
}

var pairInfo = pyflink.TupleInfo(pyflink.LongInfo, pyflink.LongInfo)

func processCase(t *testing.T, s *suite, e *example) {
	f := &pyflink.Stream{Kind: pyflink.Process, Payload: e.payload(0), Input: pairInfo, Output: pyflink.StringInfo}
	op := s.open(t, f.Function())
	b, err := f.Batch(pyflink.NoWatermark, e.events(false)...)
	events, err := f.Read(call(t, op, b, err))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range events {
		got = append(got, x.Value.(string))
	}
	same(t, got, e.lines())
}

func keyedCase(t *testing.T, s *suite, e *example) {
	streamBy(t, s, e, e.events(true), &pyflink.Stream{
		Kind: pyflink.KeyedProcess, Key: pyflink.LongInfo, Sides: []pyflink.StreamSide{{Tag: "odd", Type: pyflink.StringInfo}},
	})
}

func streamWindowCase(t *testing.T, s *suite, e *example) {
	streamBy(t, s, e, e.events(true), &pyflink.Stream{Kind: pyflink.WindowOperation, Key: pyflink.LongInfo})
}

func coProcessCase(t *testing.T, s *suite, e *example) {
	streamBy(t, s, e, e.both(false, false), &pyflink.Stream{Kind: pyflink.CoProcess, Input2: &pairInfo})
}

func keyedCoProcessCase(t *testing.T, s *suite, e *example) {
	streamBy(t, s, e, e.both(true, true), &pyflink.Stream{Kind: pyflink.KeyedCoProcess, Key: pyflink.LongInfo, Input2: &pairInfo})
}

func broadcastCase(t *testing.T, s *suite, e *example) {
	streamBy(t, s, e, e.both(false, false), &pyflink.Stream{Kind: pyflink.CoBroadcastProcess, Input2: &pairInfo})
}

func keyedBroadcastCase(t *testing.T, s *suite, e *example) {
	streamBy(t, s, e, e.both(true, false), &pyflink.Stream{Kind: pyflink.KeyedCoBroadcastProcess, Key: pyflink.LongInfo, Input2: &pairInfo})
}

// both are the events, and each fifth a second time in the second input.
func (e *example) both(keyed, secondKeyed bool) []pyflink.Event {
	all := e.events(keyed)
	for i, x := range e.events(secondKeyed) {
		if i%5 == 0 {
			x.Second = true
			all = append(all, x)
		}
	}
	return all
}

// streamBy sends events through a DataStream function, then the last watermark.
func streamBy(t *testing.T, s *suite, e *example, events []pyflink.Event, f *pyflink.Stream) {
	t.Helper()
	f.Payload, f.Input, f.Output = e.payload(0), pairInfo, pyflink.StringInfo
	op := s.open(t, f.Function())
	ctx := deadline(t)
	var got []string
	take := func(r operator.Result, err error) {
		t.Helper()
		if err != nil || r.Err != nil {
			t.Fatal(err, r.Err)
		}
		main, err := f.Read(r.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range main {
			got = append(got, x.Value.(string))
		}
		for tag, data := range r.Side {
			side, err := f.ReadSide(tag, data)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range side {
				got = append(got, "side "+x.Value.(string))
			}
		}
	}
	watermark := func(at int64) {
		t.Helper()
		if err := op.Watermark(ctx, at); err != nil {
			t.Fatal(err)
		}
		take(op.Receive(ctx))
	}
	// Flink emits watermarks by the clock, and these few events come between two.
	for part := range slices.Chunk(events, 7) {
		b, err := f.Batch(pyflink.NoWatermark, part...)
		if err != nil {
			t.Fatal(err)
		}
		take(op.Call(ctx, b))
	}
	watermark(1 << 62)
	want := e.lines()
	slices.Sort(got)
	slices.Sort(want)
	same(t, got, want)
}
