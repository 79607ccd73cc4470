package lsmstore

// FlushDelay is for tests outside of the package.
var FlushDelay = &flushDelay
