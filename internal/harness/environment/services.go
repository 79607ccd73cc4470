package environment

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// servicesMax bounds the worker pool services of one environment.
	servicesMax = 1024
	// slotsMax bounds the workers that one service is asked for.
	slotsMax = 1024
	// fullRetry is the pause before a service that had no free slot is asked
	// again.
	fullRetry = time.Second
)

// errFull is how a worker pool service says that all of its slots are taken.
var errFull = errors.New("all of its slots are taken")

// Service is a worker pool service.
type Service struct {
	Endpoint string // host:port
	Slots    int    // workers that it is asked for at most
}

// parseServices reads HOST:PORT, or several with commas between them, each with
// *N behind it if it has N slots.
func parseServices(s string) ([]Service, error) {
	var all []Service
	for _, one := range strings.Split(s, ",") {
		endpoint, slots, several := strings.Cut(strings.TrimSpace(one), "*")
		n := 1
		if several {
			var err error
			if n, err = strconv.Atoi(slots); err != nil || n < 1 || n > slotsMax {
				return nil, fmt.Errorf("worker service %q: %q is not a number of slots", one, slots)
			}
		}
		if endpoint == "" {
			return nil, fmt.Errorf("worker services %q: one has no address", s)
		}
		all = append(all, Service{endpoint, n})
	}
	if len(all) > servicesMax {
		return nil, fmt.Errorf("%d worker services are more than %d", len(all), servicesMax)
	}
	return all, nil
}

// services are the worker pool services of an environment, and what is known of
// each. Workers are spread over them: the next goes to the one with the
// smallest part of its slots taken.
type services struct {
	mu   sync.Mutex
	list []*service
}

type service struct {
	Service
	workers int       // here, or being started
	fails   int       // in a row
	retry   time.Time // it is not asked before
}

func newServices(all []Service) *services {
	s := &services{}
	for _, one := range all {
		s.list = append(s.list, &service{Service: one})
	}
	return s
}

// slots is how many workers there may be.
func (s *services) slots() (n int) {
	for _, one := range s.list {
		n += one.Slots
	}
	return n
}

// start starts a worker where there is a slot. A service that is away or full
// is left alone for a while, and another one is asked; only when none of them
// is left, the last error counts.
func (s *services) start(ctx context.Context, params map[string]string, c contact) (*external, error) {
	single := len(s.list) == 1
	var last error
	for range s.list {
		one, err := s.take(ctx)
		if err != nil {
			return nil, errors.Join(last, err)
		}
		w, err := startExternal(ctx, one.Endpoint, params, c, single)
		if err == nil {
			s.answered(one)
			w.release = func() { s.release(one) }
			return w, nil
		}
		s.failed(one, err)
		last = err
		if ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

// take finds the service for the next worker and takes one of its slots. It
// waits for one that may be asked.
func (s *services) take(ctx context.Context) (*service, error) {
	for {
		one, wait := s.tryTake(time.Now())
		if one != nil {
			return one, nil
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// tryTake returns a service, or how long to wait. A fixed number of workers may
// be more than there are slots: then a service gets more than it offers.
func (s *services) tryTake(now time.Time) (best *service, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait = backoffMax
	for _, one := range s.list {
		if d := one.retry.Sub(now); d > 0 {
			wait = min(wait, d)
			continue
		}
		if best == nil || one.workers*best.Slots < best.workers*one.Slots {
			best = one
		}
	}
	if best != nil {
		best.workers++
	}
	return best, wait
}

// answered: a service has started a worker.
func (s *services) answered(one *service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.fails = 0
}

// failed: a service has not started a worker.
func (s *services) failed(one *service, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.workers--
	pause := fullRetry
	if !errors.Is(err, errFull) {
		one.fails++
		pause = backoff(one.fails)
	}
	one.retry = time.Now().Add(pause)
}

// release gives back the slot of a worker that has ended.
func (s *services) release(one *service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.workers--
}
