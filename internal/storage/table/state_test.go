package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/urn"
	"github.com/pharos-beam/pharos/internal/storage/store"
	"github.com/pharos-beam/pharos/internal/storage/store/storetest"
)

// Requests for cells of transform "par", window "w".

func bagKey(key, id string) *fnpb.StateKey {
	return &fnpb.StateKey{Type: &fnpb.StateKey_BagUserState_{BagUserState: &fnpb.StateKey_BagUserState{
		TransformId: "par", UserStateId: id, Window: []byte("w"), Key: []byte(key)}}}
}

func mapKey(key, id, mapKey string) *fnpb.StateKey {
	return &fnpb.StateKey{Type: &fnpb.StateKey_MultimapUserState_{MultimapUserState: &fnpb.StateKey_MultimapUserState{
		TransformId: "par", UserStateId: id, Window: []byte("w"), Key: []byte(key), MapKey: []byte(mapKey)}}}
}

func mapKeys(key, id string) *fnpb.StateKey {
	return &fnpb.StateKey{Type: &fnpb.StateKey_MultimapKeysUserState_{MultimapKeysUserState: &fnpb.StateKey_MultimapKeysUserState{
		TransformId: "par", UserStateId: id, Window: []byte("w"), Key: []byte(key)}}}
}

func listKey(key, id string, r *fnpb.OrderedListRange) *fnpb.StateKey {
	return &fnpb.StateKey{Type: &fnpb.StateKey_OrderedListUserState_{OrderedListUserState: &fnpb.StateKey_OrderedListUserState{
		TransformId: "par", UserStateId: id, Window: []byte("w"), Key: []byte(key), Range: r}}}
}

// bundles runs requests in bundles over one store.
type bundles struct {
	t     testing.TB
	store store.Store
	txn   *store.Txn
	state *State
	n     uint64
	ops   int // of the last commit
}

func newBundles(t testing.TB) *bundles {
	b := &bundles{t: t, store: store.NewMem()}
	b.begin()
	return b
}

func (b *bundles) begin() {
	b.txn = store.NewTxn(b.store.Snapshot())
	b.state = NewState(b.txn, "job", 3, b.n)
	b.n++
}

// commit ends the bundle and begins the next.
func (b *bundles) commit() {
	b.t.Helper()
	ops := b.txn.Ops()
	b.ops = len(ops)
	if err := b.store.Apply(ops, false); err != nil {
		b.t.Fatal(err)
	}
	b.begin()
}

func (b *bundles) handle(req *fnpb.StateRequest) *fnpb.StateResponse {
	b.t.Helper()
	req.Id = "id"
	resp, err := b.state.Handle(1, req)
	if err != nil {
		b.t.Fatal(err)
	}
	if resp.GetId() != "id" {
		b.t.Fatalf("response to %q", resp.GetId())
	}
	return resp
}

func appendReq(k *fnpb.StateKey, data []byte) *fnpb.StateRequest {
	return &fnpb.StateRequest{StateKey: k, Request: &fnpb.StateRequest_Append{Append: &fnpb.StateAppendRequest{Data: data}}}
}

func clearReq(k *fnpb.StateKey) *fnpb.StateRequest {
	return &fnpb.StateRequest{StateKey: k, Request: &fnpb.StateRequest_Clear{Clear: &fnpb.StateClearRequest{}}}
}

func getReq(k *fnpb.StateKey, token []byte) *fnpb.StateRequest {
	return &fnpb.StateRequest{StateKey: k, Request: &fnpb.StateRequest_Get{Get: &fnpb.StateGetRequest{ContinuationToken: token}}}
}

func (b *bundles) append(k *fnpb.StateKey, data string) { b.handle(appendReq(k, []byte(data))) }
func (b *bundles) clear(k *fnpb.StateKey)               { b.handle(clearReq(k)) }

func (b *bundles) want(k *fnpb.StateKey, want string) {
	b.t.Helper()
	data, pages := b.get(k)
	if string(data) != want || pages > 1 && len(want) < PageBytes {
		b.t.Fatalf("%s: have %q in %d pages, want %q", describe(k), data, pages, want)
	}
}

func (b *bundles) get(k *fnpb.StateKey) (data []byte, pages int) {
	b.t.Helper()
	var token []byte
	for {
		get := b.handle(getReq(k, token)).GetGet()
		data = append(data, get.GetData()...)
		pages++
		if token = get.GetContinuationToken(); token == nil {
			return data, pages
		}
	}
}

func TestBag(t *testing.T) {
	b := newBundles(t)
	x := bagKey("k", "x")
	b.want(x, "")
	b.append(x, "a")
	b.append(x, "b")
	b.want(x, "ab")
	b.want(bagKey("k", "xx"), "")
	b.want(bagKey("kk", "x"), "")
	b.commit()
	b.append(x, "c")
	b.want(x, "abc")
	b.clear(x)
	b.want(x, "")
	b.append(x, "d")
	b.append(x, "e")
	b.want(x, "de")
	b.commit()
	b.append(x, "f")
	b.want(x, "def")
	b.commit()
	b.clear(x)
	b.append(x, "g")
	b.clear(x)
	b.append(x, "h")
	b.append(x, "i")
	b.commit()
	b.append(x, "j")
	b.want(x, "hij")
}

// Value state is a bag that each write clears and appends to.
func TestValueStateWriteIsOneOp(t *testing.T) {
	b := newBundles(t)
	x := bagKey("k", "value")
	for i := range 4 {
		b.clear(x)
		b.append(x, fmt.Sprint(i))
		b.clear(x)
		b.append(x, fmt.Sprint(i))
		b.commit()
		b.want(x, fmt.Sprint(i))
		if b.ops != 1 {
			t.Errorf("bundle %d: %d ops", i, b.ops)
		}
	}
}

func TestClearOfManyRows(t *testing.T) {
	b := newBundles(t)
	x, y := bagKey("k", "x"), bagKey("k", "y")
	for range 100 {
		b.append(x, "a")
	}
	b.append(y, "b")
	b.commit()
	b.clear(x)
	b.append(x, "c")
	b.commit()
	if b.ops != 2 {
		t.Errorf("%d ops, want a range deletion and a set", b.ops)
	}
	b.want(x, "c")
	b.want(y, "b")
}

func TestPages(t *testing.T) {
	b := newBundles(t)
	x := bagKey("k", "x")
	var want strings.Builder
	for i := range 10 {
		row := strings.Repeat(fmt.Sprint(i), PageBytes/3)
		want.WriteString(row)
		b.append(x, row)
	}
	b.commit()
	data, pages := b.get(x)
	if string(data) != want.String() || pages < 3 || pages > 4 {
		t.Errorf("%d bytes in %d pages, want %d", len(data), pages, want.Len())
	}
	// What is appended while pages are fetched comes with the later pages.
	get := b.handle(getReq(x, nil)).GetGet()
	b.append(x, "tail")
	rest := b.handle(getReq(x, get.ContinuationToken)).GetGet().GetData()
	if !bytes.HasPrefix([]byte(want.String()[len(get.Data):]), rest) {
		t.Error("the second page does not follow the first")
	}
	// The page that ends the bag says so, full or not.
	y := bagKey("k", "y")
	b.append(y, strings.Repeat("y", PageBytes))
	if _, pages := b.get(y); pages != 1 {
		t.Errorf("%d pages for one row", pages)
	}
}

func TestMultimap(t *testing.T) {
	b := newBundles(t)
	x := func(k string) *fnpb.StateKey { return mapKey("k", "m", k) }
	keys := mapKeys("k", "m")
	b.append(x("b"), "1")
	b.append(x("a"), "2")
	b.append(x("a"), "3")
	b.append(x("a\x00"), "4")
	b.append(mapKey("k", "other", "z"), "5")
	b.want(x("a"), "23")
	b.want(keys, "aa\x00b")
	b.commit()
	b.clear(x("a"))
	b.want(x("a"), "")
	b.want(keys, "a\x00b")
	b.append(x("a"), "6")
	b.commit()
	b.want(x("a"), "6")
	b.want(x("b"), "1")
	b.want(keys, "aa\x00b")
}

func TestMultimapEntries(t *testing.T) {
	b := newBundles(t)
	varint, err := coder.Parse(map[string]*pipepb.Coder{"v": {Spec: &pipepb.FunctionSpec{Urn: urn.CoderVarint}}}, "v")
	if err != nil {
		t.Fatal(err)
	}
	b.state.SetMultimap("par", "m", varint)
	inner, err := proto.Marshal(mapKeys("k", "m").GetMultimapKeysUserState())
	if err != nil {
		t.Fatal(err)
	}
	entries := &fnpb.StateKey{}
	entries.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, entriesField, protowire.BytesType), inner))
	b.want(entries, "")
	b.append(mapKey("k", "m", "b"), "\x01")
	b.append(mapKey("k", "m", "a"), "\x02\x80\x01")
	b.append(mapKey("k", "m", "a"), "\x03")
	b.want(entries, "a\x00\x00\x00\x03\x02\x80\x01\x03b\x00\x00\x00\x01\x01")
	b.clear(entries)
	b.want(entries, "")
}

// Prism loses the clearing of a map when the bundle ends.
func TestMultimapClearAllSurvivesTheBundle(t *testing.T) {
	b := newBundles(t)
	b.append(mapKey("k", "m", "a"), "1")
	b.append(mapKey("k", "m", "b"), "2")
	b.append(mapKey("k", "n", "c"), "3")
	b.commit()
	b.clear(mapKeys("k", "m"))
	b.commit()
	b.want(mapKeys("k", "m"), "")
	b.want(mapKey("k", "m", "a"), "")
	b.want(mapKeys("k", "n"), "c")
	b.append(mapKey("k", "m", "b"), "4")
	b.clear(mapKeys("k", "m"))
	b.append(mapKey("k", "m", "d"), "5")
	b.commit()
	b.want(mapKeys("k", "m"), "d")
	b.want(mapKey("k", "m", "b"), "")
}

func TestMultimapKeysArePaged(t *testing.T) {
	b := newBundles(t)
	var want strings.Builder
	for i := range 40 {
		k := fmt.Sprintf("%02d", i) + strings.Repeat("k", PageBytes/10)
		want.WriteString(k)
		b.append(mapKey("k", "m", k), "v")
		b.append(mapKey("k", "m", k), "v")
	}
	data, pages := b.get(mapKeys("k", "m"))
	if string(data) != want.String() || pages < 4 {
		t.Errorf("%d bytes in %d pages, want %d", len(data), pages, want.Len())
	}
}

func entry(at int64, value string) string {
	b := binary.AppendUvarint(nil, uint64(at))
	b = binary.AppendUvarint(b, uint64(len(value)))
	return string(append(b, value...))
}

func TestOrderedList(t *testing.T) {
	b := newBundles(t)
	all := listKey("k", "l", nil)
	in := func(lo, hi int64) *fnpb.StateKey {
		return listKey("k", "l", &fnpb.OrderedListRange{Start: lo, End: hi})
	}
	b.append(all, entry(5, "five")+entry(-1, "minus one")+entry(5, "five again"))
	b.append(in(0, 0), entry(3, "")) // the range says nothing about where to append
	b.commit()
	b.append(all, entry(5, "five at last")+entry(math.MaxInt64, "max")+entry(math.MinInt64, "min"))
	five := entry(5, "five") + entry(5, "five again") + entry(5, "five at last")
	b.want(in(math.MinInt64, math.MaxInt64), entry(math.MinInt64, "min")+entry(-1, "minus one")+entry(3, "")+five)
	b.want(in(-1, 5), entry(-1, "minus one")+entry(3, ""))
	b.want(in(5, 6), five)
	b.want(in(5, 5), "")
	b.want(in(6, 5), "")
	b.clear(in(3, 6))
	b.commit()
	b.want(all, entry(math.MinInt64, "min")+entry(-1, "minus one")+entry(math.MaxInt64, "max"))
	b.append(all, entry(4, "four"))
	b.clear(all)
	b.append(all, entry(7, "seven"))
	b.commit()
	b.want(all, entry(7, "seven"))
}

func TestBadRequests(t *testing.T) {
	b := newBundles(t)
	side := &fnpb.StateKey{Type: &fnpb.StateKey_IterableSideInput_{IterableSideInput: &fnpb.StateKey_IterableSideInput{}}}
	for name, req := range map[string]*fnpb.StateRequest{
		"no key":           getReq(nil, nil),
		"empty key":        getReq(&fnpb.StateKey{}, nil),
		"side input":       getReq(side, nil),
		"nothing asked":    {StateKey: bagKey("k", "x")},
		"append map keys":  appendReq(mapKeys("k", "m"), []byte("a")),
		"list cut":         appendReq(listKey("k", "l", nil), []byte(entry(1, "one")[:4])),
		"list no value":    appendReq(listKey("k", "l", nil), []byte{1}),
		"list sort key":    appendReq(listKey("k", "l", nil), bytes.Repeat([]byte{0xff}, 11)),
		"list huge length": appendReq(listKey("k", "l", nil), append([]byte{1}, binary.AppendUvarint(nil, math.MaxUint64)...)),
	} {
		if _, err := b.state.Handle(0, req); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(b.txn.Ops()); n != 0 {
		t.Errorf("bad requests left %d ops", n)
	}
}

func FuzzOrderedListAppend(f *testing.F) {
	f.Add([]byte(entry(1, "one") + entry(-1, "")))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := storetest.Map{}
		s := NewState(m, "job", 0, 0)
		s.Handle(0, appendReq(listKey("k", "l", nil), data))
		s.Handle(0, getReq(listKey("k", "l", nil), data))
		s.Handle(0, getReq(mapKeys("k", "l"), data))
	})
}

// TestStateModel compares random requests with maps of slices, over random
// ends of bundles and failed attempts.
func TestStateModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kv := storetest.Map{}
		model := map[string][]string{} // by cell: what was appended
		bundle := uint64(0)
		s := NewState(kv, "job", 0, bundle)
		ids := rapid.SampledFrom([]string{"a", "b"})
		for range rapid.IntRange(1, 40).Draw(t, "requests") {
			key, id := ids.Draw(t, "key"), ids.Draw(t, "id")
			k, cell := bagKey(key, id), "bag/"+key+"/"+id+"/"
			if rapid.Bool().Draw(t, "map") {
				mk := rapid.SampledFrom([]string{"", "m", "m\x00", "\xff"}).Draw(t, "map key")
				k, cell = mapKey(key, id, mk), "map/"+key+"/"+id+"/"+mk
			}
			switch rapid.IntRange(0, 5).Draw(t, "request") {
			case 0, 1, 2:
				v := rapid.StringMatching(`[a-z]{0,2}`).Draw(t, "value")
				mustHandle(t, s, appendReq(k, []byte(v)))
				model[cell] = append(model[cell], v)
			case 3:
				mustHandle(t, s, clearReq(k))
				delete(model, cell)
			case 4:
				mustHandle(t, s, clearReq(mapKeys(key, id)))
				for c := range model {
					if strings.HasPrefix(c, "map/"+key+"/"+id+"/") {
						delete(model, c)
					}
				}
			case 5:
				bundle += rapid.Uint64Range(1, 3).Draw(t, "bundle")
				s = NewState(kv, "job", 0, bundle)
			}
			got := mustHandle(t, s, getReq(k, nil)).GetGet().GetData()
			if want := strings.Join(model[cell], ""); string(got) != want {
				t.Fatalf("%s: %q, want %q", cell, got, want)
			}
			var keys []string
			for c := range model {
				if mk, ok := strings.CutPrefix(c, "map/"+key+"/"+id+"/"); ok {
					keys = append(keys, mk)
				}
			}
			slices.Sort(keys)
			got = mustHandle(t, s, getReq(mapKeys(key, id), nil)).GetGet().GetData()
			if want := strings.Join(keys, ""); string(got) != want {
				t.Fatalf("keys of %s/%s: %q, want %q", key, id, got, want)
			}
		}
	})
}

func mustHandle(t *rapid.T, s *State, req *fnpb.StateRequest) *fnpb.StateResponse {
	resp, err := s.Handle(0, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func BenchmarkValueState(b *testing.B) {
	s := newBundles(b)
	const keys = 1000
	var reqs [keys][3]*fnpb.StateRequest
	for i := range reqs {
		k := bagKey(fmt.Sprintf("key %d", i), "value")
		reqs[i] = [3]*fnpb.StateRequest{getReq(k, nil), clearReq(k), appendReq(k, []byte("12345678"))}
	}
	b.ReportAllocs()
	for i := range b.N {
		for _, r := range reqs[i%keys] {
			s.state.Handle(1, r)
		}
		if i%1000 == 999 {
			s.commit()
		}
	}
}
