package operator

import (
	"fmt"
	"time"
)

// Defaults of Limits.
const (
	// DefaultBundleElements is how many elements end a bundle whose results
	// come with its end.
	DefaultBundleElements = 10_000
	// DefaultBundleBytes is how much input ends such a bundle.
	DefaultBundleBytes = 16 << 20
	// DefaultBundleTime is how long such a bundle may be open.
	DefaultBundleTime = time.Second
	// DefaultLongBundleTime is how long a bundle may be open whose results come
	// with each batch. Its end makes the harness report metrics.
	DefaultLongBundleTime = 10 * time.Second
	// DefaultInFlight is how many batches may be on their way.
	DefaultInFlight = 256
	// DefaultInFlightBytes is how much input may be on its way.
	DefaultInFlightBytes = 64 << 20
	// DefaultAttempts is how often a batch or a bundle is tried when workers
	// die of it.
	DefaultAttempts = 3
	// DefaultAhead is how many batches are sent into a long bundle before the
	// first of them is answered.
	DefaultAhead = 4
	// closeTimeout is how long Close waits for open bundles to end.
	closeTimeout = 5 * time.Second
	// statePageBytes is how much state goes into one response.
	statePageBytes = 1 << 20
)

// Limits bound what an operator does at a time. A zero field has the default; a
// negative one is an error of Open.
type Limits struct {
	// Bundles is how many bundles run at a time; as many as the pool has
	// workers when zero, and one if the function is run in transactions.
	Bundles int
	// BundleElements, BundleBytes and BundleTime end a bundle.
	BundleElements int64
	BundleBytes    int64
	BundleTime     time.Duration
	// InFlight is how many batches and marks there are from Send to Receive, or
	// in Call.
	InFlight int
	// InFlightBytes is how much input and results they may hold before a Send
	// or a Call waits. It is exceeded by the output of batches that have been
	// sent already, for that is not known before, and by a single large batch.
	InFlightBytes int64
	// Attempts is how often a batch or a bundle is tried when workers die.
	Attempts int
	// Ahead is how many batches go into a long bundle without an answer.
	Ahead int
}

// check reports limits that make no sense.
func (l *Limits) check() error {
	least := min(int64(l.Bundles), l.BundleElements, l.BundleBytes, int64(l.BundleTime),
		int64(l.InFlight), l.InFlightBytes, int64(l.Attempts), int64(l.Ahead))
	if least < 0 {
		return fmt.Errorf("a negative limit: %+v", *l)
	}
	return nil
}

// complete fills in the defaults for f on a pool of a number of workers.
func (l Limits) complete(f *Function, workers int) Limits {
	long := f.SelfFlushing && !f.atomic()
	time := DefaultBundleTime
	if long {
		time = DefaultLongBundleTime
		orElse(&l.BundleElements, 1<<62)
		orElse(&l.BundleBytes, 1<<62)
	}
	if f.OneElement {
		l.BundleElements = 1
	}
	orElse(&l.Bundles, workers)
	if f.atomic() {
		l.Bundles = 1
	}
	orElse(&l.BundleElements, DefaultBundleElements)
	orElse(&l.BundleBytes, DefaultBundleBytes)
	orElse(&l.BundleTime, time)
	orElse(&l.InFlight, DefaultInFlight)
	orElse(&l.InFlightBytes, DefaultInFlightBytes)
	orElse(&l.Attempts, DefaultAttempts)
	orElse(&l.Ahead, DefaultAhead)
	return l
}

// orElse sets *v to d unless it is positive.
func orElse[T ~int | ~int64](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
