package pyflink

import (
	"encoding/base64"
	"encoding/binary"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pharos-beam/pharos/operator"
)

// descriptor is what PyFlink puts where Beam has a state's id: its StateDescriptor
// in base64.
type descriptor struct {
	name string
	// ttl is how long a value lives after it was written, in milliseconds; 0 for
	// ever.
	ttl int64
	// onRead says that reading a value lets it live on as writing does.
	onRead bool
}

// Fields of StateDescriptor and StateTTLConfig, and the update types.
const (
	descriptorName = 1
	descriptorTTL  = 2

	ttlUpdate = 1
	ttlTime   = 4

	updateDisabled = 0
	updateOnRead   = 2
)

// readDescriptor reads a state's id. One that is not a descriptor is a name.
func readDescriptor(id string) descriptor {
	b, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		return descriptor{name: id}
	}
	var d descriptor
	found := false
	eachField(b, func(field protowire.Number, _ uint64, v []byte) {
		switch field {
		case descriptorName:
			d.name, found = string(v), true
		case descriptorTTL:
			d.readTTL(v)
		}
	})
	if !found {
		return descriptor{name: id}
	}
	return d
}

// readTTL reads a StateTTLConfig.
func (d *descriptor) readTTL(config []byte) {
	update := uint64(updateDisabled)
	eachField(config, func(field protowire.Number, n uint64, _ []byte) {
		switch field {
		case ttlUpdate:
			update = n
		case ttlTime:
			d.ttl = int64(n)
		}
	})
	if update == updateDisabled {
		d.ttl = 0
	}
	d.onRead = update == updateOnRead
}

// eachField calls do for the fields of a message, as far as it can be read.
func eachField(b []byte, do func(field protowire.Number, n uint64, v []byte)) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		var number uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return
		}
		do(field, number, bytes)
		b = b[n:]
	}
}

// stampSize is the length of a stamp: when something was written, in
// milliseconds since the Unix epoch.
const stampSize = 8

func stamp(at int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(at)) }

// mortal says that values of the state expire.
func (d descriptor) mortal() bool { return d.ttl > 0 }

// describe reads a state's id. Workers must not keep state that expires: the
// harness of PyFlink means to turn that off, but with the Beam that it comes with
// it does not.
func describe(b *operator.BundleState, id string) descriptor {
	d := readDescriptor(id)
	if d.mortal() {
		b.DoNotKeep()
	}
	return d
}

// dead says whether what was written at a stamp has expired.
func (d descriptor) dead(stamp []byte, now int64) bool {
	return len(stamp) < stampSize || int64(binary.BigEndian.Uint64(stamp)) <= now-d.ttl
}

func (s States) now() int64 {
	if s.Now != nil {
		return s.Now().UnixMilli()
	}
	return time.Now().UnixMilli()
}

// mortalBag serves value and list state that expires. What was written at one
// time is under that time's stamp.
func (s States) mortalBag(b *operator.BundleState, d descriptor, cell operator.Cell, req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	switch r := req.GetRequest().(type) {
	case *fnpb.StateRequest_Get:
		return s.mortalValues(b, d, cell, r.Get.GetContinuationToken())
	case *fnpb.StateRequest_Append:
		data := append([]byte(nil), r.Append.GetData()...)
		b.Change(operator.Change{Op: operator.Append, Cell: cell, MapKey: stamp(s.now()), Data: data})
		return appended(), nil
	}
	b.Change(operator.Change{Op: operator.ClearAll, Cell: cell})
	return cleared(), nil
}

// mortalValues answers with the values that live, from a stamp on, and removes
// the others. Where reading prolongs lives all are in one answer, because they
// get a new stamp.
func (s States) mortalValues(b *operator.BundleState, d descriptor, cell operator.Cell, after []byte) (*fnpb.StateResponse, error) {
	now := s.now()
	var data []byte
	for {
		next, err := eachStamp(b, cell, after, func(at, value []byte) {
			if !d.dead(at, now) {
				data = append(data, value...)
			}
			if d.onRead || d.dead(at, now) {
				b.Change(operator.Change{Op: operator.Clear, Cell: cell, MapKey: at})
			}
		})
		switch {
		case err != nil:
			return nil, err
		case next != nil && !d.onRead:
			return got(data, next), nil
		case next == nil && d.onRead && len(data) > 0:
			b.Change(operator.Change{Op: operator.Append, Cell: cell, MapKey: stamp(now), Data: data})
		}
		if next == nil {
			return got(data, nil), nil
		}
		after = next
	}
}

// mortalMerge moves the values of a namespace into another, with their stamps.
func mortalMerge(b *operator.BundleState, source, target operator.Cell) error {
	for after := []byte(nil); ; {
		next, err := eachStamp(b, source, after, func(at, value []byte) {
			b.Change(operator.Change{Op: operator.Append, Cell: target, MapKey: at, Data: value})
		})
		if err != nil {
			return err
		}
		if next == nil {
			break
		}
		after = next
	}
	b.Change(operator.Change{Op: operator.ClearAll, Cell: source})
	return nil
}

// eachStamp calls do for a page of what a cell has, from behind a stamp on. It
// returns the page's last stamp, or nil if nothing comes after it.
func eachStamp(b *operator.BundleState, cell operator.Cell, after []byte, do func(at, value []byte)) ([]byte, error) {
	stamps, err := b.Keys(cell, after, iteratePage)
	if err != nil {
		return nil, err
	}
	for _, at := range stamps {
		value, err := b.ReadAll(cell, at)
		if err != nil {
			return nil, err
		}
		do(at, value)
	}
	if len(stamps) < iteratePage {
		return nil, nil
	}
	return stamps[len(stamps)-1], nil
}
