// Package fakesdk is the SDK's side of the Fn API for tests: a worker in the
// test's process whose bundles run Go functions. It can behave, fail, die,
// hang, and lie about anything.
package fakesdk
