package lsmstore

// These are for tests outside of the package.
var (
	FlushDelay = &flushDelay
	RoomWait   = &roomWait
	RoomPause  = &roomPause
)
