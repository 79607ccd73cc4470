package pyflink

import "google.golang.org/protobuf/encoding/protowire"

// message is a protocol buffer that is being written.
type message []byte

// bytes adds a field of bytes, a string or a message.
func (m message) bytes(field protowire.Number, v []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), v)
}

// int adds a number, unless it is zero.
func (m message) int(field protowire.Number, v int64) message {
	if v == 0 {
		return m
	}
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), uint64(v))
}

// bool adds a boolean, unless it is false.
func (m message) bool(field protowire.Number, v bool) message {
	if !v {
		return m
	}
	return m.int(field, 1)
}
