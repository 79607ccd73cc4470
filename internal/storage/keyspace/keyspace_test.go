package keyspace

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// anyBytes favours the bytes that the encoding treats specially.
var anyBytes = rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 'a', 0xfe, 0xff}), 0, 6)

func TestComponentsKeepOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyBytes.Draw(t, "a"), anyBytes.Draw(t, "b")
		// What follows a component must not matter unless the components are equal.
		x := append(AppendBytes(nil, a), anyBytes.Draw(t, "after a")...)
		y := append(AppendBytes(nil, b), anyBytes.Draw(t, "after b")...)
		if want := bytes.Compare(a, b); want != 0 && bytes.Compare(x, y) != want {
			t.Fatalf("%x and %x compare %d, encoded %d", a, b, want, bytes.Compare(x, y))
		}
	})
}

func TestComponentsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, rest := anyBytes.Draw(t, "a"), anyBytes.Draw(t, "rest")
		enc := AppendBytes(nil, a)
		if !bytes.Equal(enc, AppendString(nil, string(a))) {
			t.Fatalf("string and bytes differ")
		}
		got, after, err := Bytes(append(enc, rest...))
		if err != nil || !bytes.Equal(got, a) || !bytes.Equal(after, rest) {
			t.Fatalf("got %x, rest %x, %v", got, after, err)
		}
		if len(enc) > 0 {
			if _, _, err := Bytes(enc[:len(enc)-1]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("cut: %v", err)
			}
		}
	})
}

func TestInt64KeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		if (a < b) != (bytes.Compare(AppendInt64(nil, a), AppendInt64(nil, b)) < 0) {
			t.Fatalf("%d and %d are out of order", a, b)
		}
		if got, rest, err := Int64(AppendInt64(nil, a)); got != a || len(rest) != 0 || err != nil {
			t.Fatalf("got %d, %v", got, err)
		}
	})
}

func TestPrefixEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix, key := anyBytes.Draw(t, "prefix"), anyBytes.Draw(t, "key")
		end := PrefixEnd(prefix)
		in := bytes.Compare(key, prefix) >= 0 && (end == nil || bytes.Compare(key, end) < 0)
		if in != bytes.HasPrefix(key, prefix) {
			t.Fatalf("key %x, prefix %x, end %x: in range %v", key, prefix, end, in)
		}
	})
}

func TestTimerIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := TimerID{
			Transform: string(anyBytes.Draw(t, "transform")), Family: string(anyBytes.Draw(t, "family")),
			Key: anyBytes.Draw(t, "key"), Tag: anyBytes.Draw(t, "tag"), Window: anyBytes.Draw(t, "window"),
		}
		enc := AppendTimerID(nil, &want)
		if !bytes.HasPrefix(enc, HoldOwner(want.Key, want.Window)) {
			t.Fatalf("timers of a window are not together")
		}
		got, err := ParseTimerID(enc)
		if err != nil || !bytes.Equal(AppendTimerID(nil, &got), enc) || got.Family != want.Family {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0, 0xff, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, rest, err := Bytes(b); err == nil {
			if got := append(AppendBytes(nil, v), rest...); !bytes.Equal(got, b) {
				t.Fatalf("%x parsed to %x", b, got)
			}
		}
		ParseTimerID(b)
		ParseJobRecord(b)
	})
}

func TestJobRecord(t *testing.T) {
	for _, job := range []string{"", "a", "a\x00b"} {
		if got, err := ParseJobRecord(JobRecord(job)); got != job || err != nil {
			t.Errorf("job %q: got %q, %v", job, got, err)
		}
	}
	if bytes.HasPrefix(Job("ab"), Job("a")) {
		t.Error("dropping job a would drop job ab")
	}
}

func TestShardOf(t *testing.T) {
	const shards = 16
	var hit [shards]int
	for i := range 1600 {
		hit[ShardOf(AppendUint32(nil, uint32(i)), shards)]++
	}
	for s, n := range hit {
		if n < 50 || n > 200 {
			t.Errorf("shard %d has %d of 1600 keys", s, n)
		}
	}
	// Stored state depends on it.
	if got := ShardOf([]byte("pharos"), 1<<16); got != 0xa81b {
		t.Errorf("the hash has changed: %#x", got)
	}
	if ShardOf([]byte("x"), 1) != 0 || ShardOf([]byte("x"), 0) != 0 {
		t.Error("one shard is shard 0")
	}
}
