package sim

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/pharos-beam/pharos/internal/model/coder"
	"github.com/pharos-beam/pharos/internal/model/timestamp"
)

// armed are the timers that a key and window has set, kept in its state: name
// (family and tag) to time. It is what the runner must agree with.
type armed map[string]int64

func timerName(family, tag string) string { return family + "/" + tag }

// keyed is the state of a key and window of a node with timers.
type keyed struct {
	b          *simBundle
	s          *step
	key        string
	win        span
	armed      armed
	value, bag *cell
}

func (b *simBundle) keyed(s *step, key string, win span) (*keyed, error) {
	k := &keyed{b: b, s: s, key: key, win: win, armed: armed{}}
	var err error
	if k.value, err = b.cell(s, cellValue, key, win); err != nil {
		return nil, err
	}
	if len(k.value.data) > 0 {
		if err := json.Unmarshal(k.value.data, &k.armed); err != nil {
			return nil, err
		}
	}
	k.bag, err = b.cell(s, cellBag, key, win)
	return k, err
}

// save writes the armed timers.
func (k *keyed) save() error {
	data, err := json.Marshal(k.armed)
	if err != nil {
		return err
	}
	return k.value.set(data)
}

// set sets a timer.
func (k *keyed) set(family, tag string, fire int64, hold timestamp.Time) error {
	k.armed[timerName(family, tag)] = fire
	return k.send(family, tag, coder.TimerElement{Fire: timestamp.Time(fire), Hold: hold})
}

// clear clears a timer.
func (k *keyed) clear(family, tag string) error {
	delete(k.armed, timerName(family, tag))
	return k.send(family, tag, coder.TimerElement{Clear: true})
}

func (k *keyed) send(family, tag string, e coder.TimerElement) error {
	k.b.touch(k.s, k.key, k.win, timerName(family, tag))
	e.Key, e.Tag, e.Windows, e.NumWindows = encodeText(k.key), []byte(tag), k.win.encode(nil), 1
	return k.b.spec.Timer(k.s.id, family, e.Append(nil))
}

func touchID(s *step, key string, win span, name string) string {
	return s.id + "|" + key + "|" + win.String() + "|" + name
}

func (b *simBundle) touch(s *step, key string, win span, name string) {
	if b.touched == nil {
		b.touched = map[string]bool{}
	}
	b.touched[touchID(s, key, win, name)] = true
}

// timer fires a timer.
func (b *simBundle) timer(it item) error {
	if err := b.pause(); err != nil {
		return err
	}
	var e coder.TimerElement
	if _, err := b.p.timers[[2]string{it.transform, it.family}].Scan(it.raw, &e); err != nil {
		return err
	}
	win, err := decodeSpan(e.Windows)
	if err != nil {
		return err
	}
	keys, _, err := texts(e.Key, 1)
	if err != nil {
		return err
	}
	s, tag := b.p.steps[it.transform], string(e.Tag)
	if s.node.op == expire {
		return b.expired(s, keys[0], win, &e)
	}
	k, err := b.keyed(s, keys[0], win)
	if err != nil {
		return err
	}
	name := timerName(it.family, tag)
	at, set := k.armed[name]
	if (!set || at != int64(e.Fire)) && b.touched[touchID(s, k.key, win, name)] {
		return nil // this bundle has changed it since the runner sent it
	}
	b.checkTimer(it.family, name, k, &e)
	delete(k.armed, name)
	if s.node.op == loop {
		return b.tick(k, int64(e.Fire))
	}
	return k.release()
}

// checkTimer: it is the one that was set, and due.
func (b *simBundle) checkTimer(family, name string, k *keyed, e *coder.TimerElement) {
	at, set := k.armed[name]
	where := fmt.Sprintf("%s: key %s, window %v: timer %s for %d", k.s.id, k.key, k.win, name, int64(e.Fire))
	switch {
	case !set:
		b.w.fail("%s fires, but is not set", where)
	case family == familyEvent && at != int64(e.Fire):
		b.w.fail("%s fires, but is set for %d", where, at)
	case family == familyEvent && e.Fire > b.t.ev.Watermark:
		b.w.fail("%s fires at watermark %d", where, int64(b.t.ev.Watermark))
	case family == familyClock && int64(e.Fire) > b.t.ev.ProcDueMS:
		b.w.fail("%s fires at %d", where, b.t.ev.ProcDueMS)
	}
}

// Tags of a buffer's timers.
const (
	tagFirst  = "first"
	tagSecond = "second"
)

// buffer keeps an element until one of the timers fires.
func (b *simBundle) buffer(s *step, e elem) error {
	k, err := b.keyed(s, e.key, e.win)
	if err != nil {
		return err
	}
	if err := k.keep(e); err != nil {
		return err
	}
	hold, _, err := k.held()
	if err != nil {
		return err
	}
	if err := k.arm(e, hold, hash(e.value, s.id)); err != nil {
		return err
	}
	return k.save()
}

// arm sets and clears timers as chance wants, so that one remains that fires
// before the window's state is dropped.
func (k *keyed) arm(e elem, hold timestamp.Time, chance uint32) error {
	last := int64(e.win.max())
	soon := min(last, int64(e.ts)+int64(chance%97))
	var err error
	switch chance / 97 % 5 {
	case 0:
		err = k.set(familyEvent, tagFirst, last, hold)
	case 1:
		if err = k.set(familyEvent, tagFirst, soon, hold); err == nil {
			err = k.clear(familyEvent, tagSecond)
		}
	case 2:
		if err = k.set(familyEvent, tagSecond, soon, hold); err == nil {
			err = k.clear(familyEvent, tagFirst)
		}
	case 3:
		if err = k.clear(familyClock, tagFirst); err == nil {
			err = k.set(familyEvent, tagFirst, last, hold)
		}
	default:
		if err = k.set(familyEvent, tagSecond, last, hold); err == nil {
			err = k.set(familyClock, tagFirst, k.b.w.now+int64(chance%500), hold)
		}
	}
	return err
}

// keep puts an element into the bag.
func (k *keyed) keep(e elem) error {
	row := binary.BigEndian.AppendUint64(nil, uint64(e.ts))
	return k.bag.append(coder.AppendBytes(row, []byte(e.value)))
}

// held reads the bag: the smallest timestamp and the elements.
func (k *keyed) held() (timestamp.Time, []elem, error) {
	hold, all := timestamp.Max, []elem(nil)
	for data := k.bag.data; len(data) > 0; {
		ts := timestamp.Time(binary.BigEndian.Uint64(data))
		value, n, err := coder.DecodeBytes(data[8:])
		if err != nil {
			return 0, nil, err
		}
		data = data[8+n:]
		hold, all = min(hold, ts), append(all, elem{k.key, string(value), ts, k.win})
	}
	return hold, all, nil
}

// release lets go what the bag has.
func (k *keyed) release() error {
	_, all, err := k.held()
	if err != nil {
		return err
	}
	for _, e := range all {
		if err := k.b.emit(k.s.out, datum{ts: e.ts, wins: []span{e.win}, value: kv(e.key, e.value)}); err != nil {
			return err
		}
	}
	if err := k.bag.clear(); err != nil {
		return err
	}
	return k.save()
}

// untilExpiry keeps an element until the window expires. The value says that it
// has.
func (b *simBundle) untilExpiry(s *step, e elem) error {
	k, err := b.keyed(s, e.key, e.win)
	if err != nil {
		return err
	}
	if k.armed[expiredMark] > 0 {
		b.w.fail("%s: key %s, window %v: an element after the window has expired", s.id, e.key, e.win)
	}
	return k.keep(e)
}

// expiredMark is among the armed timers of a key and window that has expired.
const expiredMark = "expired"

// expired is the expiration of a window.
func (b *simBundle) expired(s *step, key string, win span, e *coder.TimerElement) error {
	k, err := b.keyed(s, key, win)
	if err != nil {
		return err
	}
	end := timestamp.EndOfGlobalWindow
	if win.max() < end {
		end = min(end, win.max().Add(s.node.in[0].w.lateness))
	}
	if k.armed[expiredMark] > 0 || e.Fire <= end || e.Fire > b.t.ev.Watermark {
		b.w.fail("%s: key %s, window %v expires at %d, watermark %d, expired before: %v", s.id, key, win, int64(e.Fire), int64(b.t.ev.Watermark), k.armed)
	}
	k.armed[expiredMark] = 1
	_, all, err := k.held()
	if err != nil {
		return err
	}
	for _, x := range all {
		if err := b.emit(s.out, datum{ts: win.max(), wins: []span{win}, value: kv(key, x.value)}); err != nil {
			return err
		}
	}
	return k.save()
}

// startLoop sets the timer of a key and window when its first element comes.
// The bag has an entry for each tick, and one for the start.
func (b *simBundle) startLoop(s *step, e elem) error {
	k, err := b.keyed(s, e.key, e.win)
	if err != nil || len(k.bag.data) > 0 {
		return err
	}
	if err := k.bag.append([]byte{0}); err != nil {
		return err
	}
	first := min(int64(e.win.start)+10, int64(e.win.max()))
	if err := k.set(familyEvent, "", first, e.win.max()); err != nil {
		return err
	}
	return k.save()
}

// tick is a firing of a loop's timer.
func (b *simBundle) tick(k *keyed, fire int64) error {
	n := len(k.bag.data)
	value := fmt.Sprintf("t%d", n)
	if err := b.emit(k.s.out, datum{ts: k.win.max(), wins: []span{k.win}, value: kv(k.key, value)}); err != nil {
		return err
	}
	if err := k.bag.append([]byte{0}); err != nil {
		return err
	}
	if n < k.s.node.ticks(k.key) {
		if err := k.set(familyEvent, "", min(fire+7, int64(k.win.max())), k.win.max()); err != nil {
			return err
		}
	}
	return k.save()
}
