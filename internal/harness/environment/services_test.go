package environment

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestParseServices(t *testing.T) {
	got, err := parseServices("a:1, b:2*3,c:3*1")
	if want := []Service{{"a:1", 1}, {"b:2", 3}, {"c:3", 1}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "a:1,", "a:1*0", "a:1*x", "*2", "a:1*99999"} {
		if got, err := parseServices(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

// Workers go where the smallest part of the slots is taken, and for a while not
// to services that do not answer or are full.
func TestServicesShare(t *testing.T) {
	s := newServices([]Service{{"a", 1}, {"b", 2}, {"c", 1}})
	now := time.Now()
	take := func() *service {
		t.Helper()
		one, wait := s.tryTake(now)
		if one == nil {
			t.Fatalf("none; wait %v", wait)
		}
		return one
	}
	got := map[string]int{}
	var a *service
	for range s.slots() {
		one := take()
		got[one.Endpoint]++
		if one.Endpoint == "a" {
			a = one
		}
	}
	if got["a"] != 1 || got["b"] != 2 || got["c"] != 1 {
		t.Fatalf("shared out as %v", got)
	}
	s.release(a)
	if one := take(); one != a {
		t.Fatalf("not the free one but %s", one.Endpoint)
	}
	s.failed(a, errors.New("away"))
	if one := take(); one == a {
		t.Error("a service that is away has been asked again at once")
	}
	before := time.Now()
	for _, one := range s.list {
		s.failed(one, errFull)
	}
	if one, wait := s.tryTake(before); one != nil || wait < fullRetry || wait > fullRetry+time.Since(before) {
		t.Errorf("all are away: %v, wait %v", one, wait)
	}
	now = time.Now().Add(2 * backoffMax)
	if take() == nil || a.fails != 1 {
		t.Error("services are not asked again")
	}
}
