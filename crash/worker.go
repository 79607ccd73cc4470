package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// programs are those that run a job's code, by the names that their processes have.
var programs = map[string]language{"python": python, "java": java, batchProgram: golang}

// worker is a process that runs a job's code.
type worker struct {
	pid      int
	language language
}

// workerIn is what a report calls the workers in a language.
func workerIn(l language) string { return "worker in " + string(l) }

// workers are the workers that the runner has started. What it has started beside them (a guard for each) is not among them.
func (r *runner) workers() []worker {
	mine := "\x00" + tagVariable + "=" + r.tag + "\x00"
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var found []worker
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		l, known := programs[strings.TrimSpace(string(name))]
		if err != nil || !known {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(dir, "environ")); err == nil && strings.Contains("\x00"+string(b), mine) {
			found = append(found, worker{pid, l})
		}
	}
	return found
}
