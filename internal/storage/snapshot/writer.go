package snapshot

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// Writer writes a file: blocks, then rows, then Close.
type Writer struct {
	path string
	file *os.File
	buf  *bufio.Writer
	at   int64
	rows []byte
	err  error // the first
}

// Create begins a file, which gets its name when the Writer is closed. A file
// of that name is an error.
func Create(path string) (*Writer, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("create snapshot %s: %w", path, os.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return nil, fmt.Errorf("create snapshot: %w", err)
	}
	w := &Writer{path: path, file: f, buf: bufio.NewWriterSize(f, rowsBytes)}
	n, err := fmt.Fprintf(w.buf, "%s%d\n", intro, version)
	w.at, w.err = int64(n), err
	return w, nil
}

// Block adds a block.
func (w *Writer) Block(id uint64, data []byte) error {
	return w.frame(blockFrame, binary.LittleEndian.AppendUint64(nil, id), data)
}

// Row adds a row.
func (w *Writer) Row(key, value []byte) error {
	for _, b := range [][]byte{key, value} {
		w.rows = append(binary.AppendUvarint(w.rows, uint64(len(b))), b...)
	}
	if len(w.rows) < rowsBytes {
		return w.err
	}
	return w.flush()
}

func (w *Writer) flush() error {
	if len(w.rows) == 0 {
		return w.err
	}
	err := w.frame(rowsFrame, w.rows)
	w.rows = w.rows[:0]
	return err
}

func (w *Writer) frame(kind byte, parts ...[]byte) error {
	if w.err != nil {
		return w.err
	}
	n, err := writeFrame(w.buf, kind, parts...)
	w.at += n
	if err != nil {
		w.err = fmt.Errorf("write snapshot: %w", err)
	}
	return w.err
}

// Close writes the manifest and gives the file its name, durably. It returns
// the size of the file. After an error nothing is left of it.
func (w *Writer) Close(manifest []byte) (int64, error) {
	err := w.flush()
	at := w.at
	if err == nil {
		err = w.frame(manifestFrame, manifest)
	}
	if err == nil {
		err = w.footer(at)
	}
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		w.Abort()
		return 0, err
	}
	if err := errors.Join(w.file.Close(), os.Rename(w.file.Name(), w.path)); err != nil {
		return 0, errors.Join(fmt.Errorf("write snapshot: %w", err), os.Remove(w.file.Name()))
	}
	return w.at, syncDir(filepath.Dir(w.path))
}

// footer says where the manifest is.
func (w *Writer) footer(manifest int64) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(manifest))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = binary.LittleEndian.AppendUint32(b, footerMagic)
	_, err := w.buf.Write(b)
	w.at += footerBytes
	if err := errors.Join(err, w.buf.Flush()); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// Abort gives the file up.
func (w *Writer) Abort() {
	_ = w.file.Close()
	_ = os.Remove(w.file.Name())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
