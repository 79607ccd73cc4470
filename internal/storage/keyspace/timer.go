package keyspace

// TimerID identifies a timer within a shard of a stage.
type TimerID struct {
	Transform, Family string
	Key, Tag, Window  []byte
}

// AppendTimerID appends the identity of a timer. All timers of one window of
// one key are contiguous: they start with HoldOwner(key, window).
func AppendTimerID(dst []byte, t *TimerID) []byte {
	dst = AppendBytes(dst, t.Key)
	dst = AppendBytes(dst, t.Window)
	dst = AppendString(dst, t.Transform)
	dst = AppendString(dst, t.Family)
	return AppendBytes(dst, t.Tag)
}

// ParseTimerID parses what AppendTimerID wrote. The byte fields may alias b.
func ParseTimerID(b []byte) (t TimerID, err error) {
	var transform, family []byte
	for _, field := range []*[]byte{&t.Key, &t.Window, &transform, &family, &t.Tag} {
		if *field, b, err = Bytes(b); err != nil {
			return TimerID{}, err
		}
	}
	if len(b) != 0 {
		return TimerID{}, ErrMalformed
	}
	t.Transform, t.Family = string(transform), string(family)
	return t, nil
}
