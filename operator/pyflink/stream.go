package pyflink

import (
	"encoding/binary"
	"fmt"
	"math"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/pharos-beam/pharos/operator"
)

// StreamKind is a kind of function of the DataStream API, with Flink's numbers.
type StreamKind uint8

// Kinds of DataStream functions.
const (
	Process                 StreamKind = 0
	CoProcess               StreamKind = 1
	KeyedProcess            StreamKind = 2
	KeyedCoProcess          StreamKind = 3
	WindowOperation         StreamKind = 4
	CoBroadcastProcess      StreamKind = 5
	KeyedCoBroadcastProcess StreamKind = 6
	reviseOutput            StreamKind = 100
)

// keyed says that functions of the kind have keyed state and timers.
func (k StreamKind) keyed() bool {
	switch k {
	case KeyedProcess, KeyedCoProcess, WindowOperation, KeyedCoBroadcastProcess:
		return true
	}
	return false
}

// Stream describes a function of the DataStream API.
type Stream struct {
	Options
	Kind StreamKind
	// Payload is the function as PyFlink pickles it.
	Payload []byte
	// Key is the type of keys, for functions by key.
	Key TypeInfo
	// Input is the type of values. A function of two inputs has the second in
	// Input2.
	Input  TypeInfo
	Input2 *TypeInfo
	// Output is the type of results.
	Output TypeInfo
	// Sides are side outputs: their tag and type.
	Sides []StreamSide
}

// StreamSide is a side output.
type StreamSide struct {
	Tag  string
	Type TypeInfo
}

// timerFamily is the family of all timers.
const timerFamily = "timer"

// keyInfo is how keys travel in timers and state.
func (s *Stream) keyInfo() TypeInfo { return RowInfo(s.Key) }

// value is the type of one input's values, with the key if there is one.
func (s *Stream) value(t TypeInfo) TypeInfo {
	if !s.Kind.keyed() {
		return t
	}
	return RowInfo(s.Key, t)
}

// data is the type of what is in an element.
func (s *Stream) data() TypeInfo {
	if s.Input2 == nil {
		return s.value(s.Input)
	}
	second := s.value(*s.Input2)
	if s.Kind == KeyedCoBroadcastProcess {
		second = *s.Input2
	}
	return RowInfo(BooleanInfo, s.value(s.Input), second)
}

// input is the type of elements: timestamp, watermark, data.
func (s *Stream) input() TypeInfo { return RowInfo(LongInfo, LongInfo, s.data()) }

// timer is the type of timers: what it is, watermark, timestamp, key, namespace.
func (s *Stream) timer() TypeInfo {
	return RowInfo(ByteInfo, LongInfo, LongInfo, s.keyInfo(), bytesInfo)
}

// proto writes a UserDefinedDataStreamFunction.
func (s *Stream) proto() message {
	metrics := s.Metrics || s.Kind == WindowOperation // its window operator counts late records
	m := message(nil).int(1, int64(s.Kind)).bytes(2, s.runtimeContext()).bytes(3, s.Payload).bool(4, metrics)
	if s.Kind.keyed() {
		m = m.bytes(5, s.keyInfo().proto())
	}
	return m.bool(6, s.Profile).bool(7, len(s.Sides) > 0).
		int(8, stateCacheSize).int(9, mapStateCacheSize).int(10, mapStateCacheSize)
}

// parDo wraps a function's message.
func parDo(name string, payload []byte) []byte {
	b, err := proto.Marshal(&pipepb.ParDoPayload{DoFn: &pipepb.FunctionSpec{Urn: name, Payload: payload}})
	if err != nil {
		panic(err) // a URN and bytes can be marshalled
	}
	return b
}

// Function describes the function. A result comes with the last batch of its
// bundle, a side output too.
func (s *Stream) Function() operator.Function {
	input := coder(rawType, s.input().proto(), true, false)
	revise := []operator.Step{{
		URN:     urnParDo,
		Payload: parDo(urnStateless, message(nil).int(1, int64(reviseOutput)).bytes(2, s.runtimeContext())),
		Input:   input,
	}}
	f := operator.Function{
		Name: "DataStream function", URN: urnParDo, Payload: parDo(urnStateless, s.proto()),
		Input: input, Then: revise,
		Output: coder(rawType, RowInfo(LongInfo, s.Output).proto(), true, false),
		Match:  operator.Loose, States: States{},
	}
	for _, side := range s.Sides {
		f.SideOutputs = append(f.SideOutputs, operator.SideOutput{
			Tag: side.Tag, Coder: coder(rawType, RowInfo(LongInfo, side.Type).proto(), true, false), Then: revise,
		})
	}
	if s.Kind.keyed() {
		f.Payload, f.Stateful = parDo(urnStateful, s.proto()), true
		f.Timers = []operator.TimerFamily{{
			Name: timerFamily, Key: coder(rawType, s.timer().proto(), false, false), Codec: streamTimers{},
		}}
	}
	return f
}

// Event is an input or a result of a DataStream function.
type Event struct {
	// Time is in milliseconds since the Unix epoch; nil for none.
	Time *int64
	// Key is the key of an input, for functions by key.
	Key any
	// Second says that it is of the second input.
	Second bool
	// Value is the value.
	Value any
}

// Batch makes a batch of events, sent when the watermark is at a time.
func (s *Stream) Batch(watermark int64, events ...Event) (operator.Batch, error) {
	c, err := NewStreamCoder(s.input().Fields...)
	if err != nil {
		return operator.Batch{}, err
	}
	rows := make([]Row, len(events))
	for i, e := range events {
		rows[i] = Values(nil, watermark, s.wrap(e))
		if e.Time != nil {
			rows[i].Fields[0] = *e.Time
		}
	}
	return c.Batch(rows...)
}

// wrap adds the key, and which input it is.
func (s *Stream) wrap(e Event) any {
	v := e.Value
	if s.Kind.keyed() && (!e.Second || s.Kind != KeyedCoBroadcastProcess) {
		v = Values(e.Key, v)
	}
	switch {
	case s.Input2 == nil:
		return v
	case e.Second:
		return Values(false, nil, v)
	}
	return Values(true, v, nil)
}

// Read reads results of the main output.
func (s *Stream) Read(data []byte) ([]Event, error) { return readEvents(s.Output, data) }

// ReadSide reads results of a side output.
func (s *Stream) ReadSide(tag string, data []byte) ([]Event, error) {
	for _, side := range s.Sides {
		if side.Tag == tag {
			return readEvents(side.Type, data)
		}
	}
	return nil, fmt.Errorf("there is no side output %q", tag)
}

func readEvents(t TypeInfo, data []byte) ([]Event, error) {
	c, err := NewStreamCoder(LongInfo, t)
	if err != nil {
		return nil, err
	}
	rows, err := c.Read(data)
	if err != nil {
		return nil, err
	}
	events := make([]Event, len(rows))
	for i, r := range rows {
		events[i].Value = r.Fields[1]
		if at, ok := r.Fields[0].(int64); ok {
			events[i].Time = &at
		}
	}
	return events, nil
}

// NoWatermark is the watermark before there is one.
const NoWatermark = math.MinInt64

// streamTimers is the format of DataStream timers: Beam's timer coder whose user
// key is a row of operation, watermark, time, key and namespace. Everything else
// in it is the same for all of them.
type streamTimers struct{}

// Offsets in a timer's row, which has one byte of mask.
const (
	timerOpAt        = 1
	timerWatermarkAt = 2
	timerTimeAt      = 10
	timerKeyAt       = 18
)

// timerTail is what follows the row: no tag, one window, which is empty, and the
// clear bit, which is set for live timers too.
var timerTail = []byte{0, 0, 0, 0, 1, 1}

// Decode implements operator.TimerCodec.
func (streamTimers) Decode(data []byte) (operator.Timer, []byte, error) {
	row, rest, ok := operator.NextElement(data)
	if !ok || len(row) < timerKeyAt || len(rest) < len(timerTail) {
		return operator.Timer{}, nil, errShort
	}
	t := timerOf(int8(row[timerOpAt]), int64(binary.BigEndian.Uint64(row[timerTimeAt:])))
	t.Data = append([]byte{row[0]}, row[timerKeyAt:]...)
	t.ID = append(t.ID, t.Data...)
	return t, rest[len(timerTail):], nil
}

// Fire implements operator.TimerCodec.
func (streamTimers) Fire(dst []byte, t operator.Timer, now int64) []byte {
	row := make([]byte, timerKeyAt, timerKeyAt+len(t.Data))
	row[0] = t.Data[0]
	row[timerOpAt] = byte(t.Domain)
	binary.BigEndian.PutUint64(row[timerWatermarkAt:], uint64(now))
	binary.BigEndian.PutUint64(row[timerTimeAt:], uint64(t.FireAt))
	row = append(row, t.Data[1:]...)
	return append(operator.AppendElement(dst, row), timerTail...)
}
