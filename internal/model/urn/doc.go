// Package urn names the URNs of the Beam model that Pharos knows. The values
// are those of the beam_urn options in Beam's protos; a test compares them.
//
// It holds names only. What Pharos does with a URN, and whether it supports it
// at all, is decided where the URN is used.
package urn
