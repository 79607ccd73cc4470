package shuffle

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"os"
	"slices"

	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// runs are sorted tables, one after the other in one temporary file. A run is
// a sequence of records in order of (hash, key, window):
//
//	hash:8  len key  len window  time:8  count  len body
//
// with the numbers without a size as varints. The body has for each value
//
//	len value                       or, when merging,
//	len window  time:8  len value
//
// and the window and time of the record are empty when merging.
type runs struct {
	file  *os.File
	size  int64
	spans []runSpan
}

// runSpan is where a run is in the file.
type runSpan struct{ start, end int64 }

// runBufferBytes is the size of the buffer for writing a run.
const runBufferBytes = 1 << 20

func newRuns(f *os.File) *runs {
	// Without a name the file goes away with the process, whatever happens.
	// Where open files cannot be removed, close does it.
	os.Remove(f.Name())
	return &runs{file: f}
}

func (r *runs) close() {
	r.file.Close()
	os.Remove(r.file.Name())
}

// write appends the table as a run.
func (r *runs) write(t *table) error {
	w := runWriter{t: t, out: bufio.NewWriterSize(r.file, runBufferBytes)}
	for _, i := range t.sorted() {
		if err := w.record(t.groups.at(i)); err != nil {
			return err
		}
	}
	if err := w.out.Flush(); err != nil {
		return err
	}
	r.spans = append(r.spans, runSpan{r.size, r.size + w.size})
	r.size += w.size
	return nil
}

// sorted returns the groups in order of hash, key, window.
func (t *table) sorted() []uint32 {
	type item struct {
		hash  uint64
		group uint32
	}
	items := make([]item, t.groups.len())
	for i := range items {
		items[i] = item{t.groups.at(uint32(i)).hash, uint32(i)}
	}
	slices.SortFunc(items, func(a, b item) int {
		if a.hash != b.hash {
			return cmp.Compare(a.hash, b.hash)
		}
		x, y := t.groups.at(a.group), t.groups.at(b.group)
		if c := bytes.Compare(t.bytesOf(x.key), t.bytesOf(y.key)); c != 0 || t.merging {
			return c
		}
		return bytes.Compare(t.windows.all[x.window], t.windows.all[y.window])
	})
	order := make([]uint32, len(items))
	for i := range items {
		order[i] = items[i].group
	}
	return order
}

type runWriter struct {
	t    *table
	out  *bufio.Writer
	size int64
	buf  []byte
}

func (w *runWriter) record(g *group) error {
	var win []byte
	if !w.t.merging {
		win = w.t.windows.all[g.window]
	}
	b := binary.LittleEndian.AppendUint64(w.buf[:0], g.hash)
	b = appendSized(b, w.t.bytesOf(g.key))
	b = appendSized(b, win)
	b = timestamp.Append(b, g.time)
	b = binary.AppendUvarint(b, uint64(g.count))
	b = binary.AppendUvarint(b, w.bodyLen(g))
	if err := w.put(b); err != nil {
		return err
	}
	return w.t.eachValue(g, func(i uint32, v []byte) error {
		b := w.buf[:0]
		if w.t.merging {
			s := w.t.stamps.at(i)
			b = timestamp.Append(appendSized(b, w.t.bytesOf(s.window)), s.time)
		}
		if err := w.put(binary.AppendUvarint(b, uint64(len(v)))); err != nil {
			return err
		}
		n, err := w.out.Write(v)
		w.size += int64(n)
		return err
	})
}

// put writes b, which is kept as scratch.
func (w *runWriter) put(b []byte) error {
	w.buf = b
	n, err := w.out.Write(b)
	w.size += int64(n)
	return err
}

func (w *runWriter) bodyLen(g *group) uint64 {
	total := 0
	w.t.eachValue(g, func(i uint32, v []byte) error {
		total += varintLen(len(v)) + len(v)
		if w.t.merging {
			n := int(w.t.stamps.at(i).window.len)
			total += varintLen(n) + n + timestamp.EncodedLen
		}
		return nil
	})
	return uint64(total)
}

func appendSized(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func varintLen(n int) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}
