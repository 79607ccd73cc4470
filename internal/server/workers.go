package server

import "time"

// Worker is a live worker of a job.
type Worker struct {
	Name        string
	Environment string // id
	Target      string // how it is run
}

// Sample is an element that a worker has seen.
type Sample struct {
	PCollection string // id
	At          time.Time
	Value       any // decoded where the coder is known
	// Transform, Instruction and Error say what the element led to, if that was an
	// exception.
	Transform, Instruction, Error string
}
