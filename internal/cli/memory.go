package cli

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/pharos-beam/pharos/internal/memory"
)

// fallbackMemory is used where the machine's memory is unknown.
const fallbackMemory = 1 << 30

// byteSize is a flag's size in bytes.
type byteSize int64

var units = []struct {
	suffix string
	factor float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40}, {"b", 1}, {"", 1},
}

// UnmarshalText reads sizes like 512MiB, 4g or 1000000.
func (s *byteSize) UnmarshalText(text []byte) error {
	t := strings.ToLower(strings.TrimSpace(string(text)))
	for _, u := range units {
		number, ok := strings.CutSuffix(t, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(v > 0) || v*u.factor >= math.MaxInt64 {
			break
		}
		*s = byteSize(v * u.factor)
		return nil
	}
	return fmt.Errorf("%q is no size like 512MiB or 4GiB", text)
}

// defaultMemory is half of the machine's memory: workers need theirs, too.
func defaultMemory() int64 {
	if all := machineMemory(); all > 0 {
		return max(all/2, memory.Min)
	}
	return fallbackMemory
}

// machineMemory is the machine's memory in bytes, 0 if it is not known.
func machineMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		fields := strings.Fields(in.Text())
		if len(fields) < 2 || fields[0] != "MemTotal:" {
			continue
		}
		if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			return kib << 10
		}
	}
	return 0
}

// gcPercent lets the heap grow further between collections than Go does by
// itself: a job of a few elements then needs none, and large ones a quarter as
// many. The memory limit bounds what that costs.
const gcPercent = 400

// tuneGC sets the garbage collector for a heap of limit bytes. GOGC and
// GOMEMLIMIT in the environment have the last word.
func tuneGC(limit int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
}
