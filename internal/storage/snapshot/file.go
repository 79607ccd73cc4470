package snapshot

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
)

// File is a snapshot that is open for reading.
type File struct {
	file     *os.File
	size     int64
	begin    int64 // of the first frame
	end      int64 // of the frames before the manifest
	manifest []byte
}

// Open opens a file, and reads its manifest.
func Open(path string) (*File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	f := &File{file: file}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("open snapshot %s: %w", path, errors.Join(err, file.Close()))
	}
	return f, nil
}

func (f *File) open() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return ErrForeign
	}
	f.size = info.Size()
	if err := f.readIntro(); err != nil {
		return err
	}
	if err := f.readFooter(); err != nil {
		return err
	}
	kind, manifest, err := readFrame(io.NewSectionReader(f.file, f.end, f.size-f.end), f.size-f.end)
	if err == nil && kind != manifestFrame {
		err = fmt.Errorf("%w: no manifest", ErrCorrupt)
	}
	f.manifest = manifest
	return err
}

// readIntro checks what the file is, and of which version.
func (f *File) readIntro() error {
	const longest = len(intro) + 20
	line, err := bufio.NewReader(io.NewSectionReader(f.file, 0, int64(longest))).ReadString('\n')
	if err != nil {
		return ErrForeign
	}
	number, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), intro)
	n, err := strconv.ParseUint(number, 10, 32)
	switch {
	case !ok || err != nil || n == 0:
		return ErrForeign
	case n > version:
		return fmt.Errorf("%w: it has version %d, this one knows versions up to %d", ErrVersion, n, version)
	}
	f.begin = int64(len(line))
	return nil
}

func (f *File) readFooter() error {
	var b [footerBytes]byte
	if f.size < f.begin+footerBytes {
		return cut(io.EOF)
	}
	if _, err := f.file.ReadAt(b[:], f.size-footerBytes); err != nil {
		return cut(err)
	}
	at := binary.LittleEndian.Uint64(b[:])
	if binary.LittleEndian.Uint32(b[12:]) != footerMagic || binary.LittleEndian.Uint32(b[8:]) != crc32.Checksum(b[:8], castagnoli) {
		return cut(io.EOF)
	}
	if at < uint64(f.begin) || at > uint64(f.size-footerBytes-headerBytes) {
		return fmt.Errorf("%w: there is no manifest where it should be", ErrCorrupt)
	}
	f.end = int64(at)
	return nil
}

// Manifest is what the writer said of the file.
func (f *File) Manifest() []byte { return f.manifest }

// Size is that of the file, in bytes.
func (f *File) Size() int64 { return f.size }

// Each calls block and row with what is in the file, in the order in which it
// was written, until one returns an error. They may keep what they get.
func (f *File) Each(block func(id uint64, data []byte) error, row func(key, value []byte) error) error {
	in := bufio.NewReaderSize(io.NewSectionReader(f.file, f.begin, f.end-f.begin), rowsBytes)
	for left := f.end - f.begin; left > 0; {
		kind, payload, err := readFrame(in, left)
		if err != nil {
			return err
		}
		left -= headerBytes + int64(len(payload))
		switch {
		case kind == rowsFrame:
			err = eachRow(payload, row)
		case kind == blockFrame && len(payload) >= 8:
			err = block(binary.LittleEndian.Uint64(payload), payload[8:])
		default:
			err = fmt.Errorf("%w: a frame of kind %q and %d bytes", ErrCorrupt, kind, len(payload))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func eachRow(b []byte, row func(key, value []byte) error) error {
	for len(b) > 0 {
		var parts [2][]byte
		for i := range parts {
			n, used := binary.Uvarint(b)
			if used <= 0 || n > uint64(len(b)-used) {
				return fmt.Errorf("%w: a row is cut", ErrCorrupt)
			}
			parts[i], b = b[used:used+int(n):used+int(n)], b[used+int(n):]
		}
		if err := row(parts[0], parts[1]); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }
