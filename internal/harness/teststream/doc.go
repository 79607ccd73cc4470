// Package teststream is the client of Beam's TestStreamService
// (beam_interactive_api.proto): a service of the pipeline's author from which
// a TestStream with an endpoint has its events. Python's interactive runner has
// one that replays what it has recorded.
//
// It streams events and checks nothing of what is in them.
package teststream
