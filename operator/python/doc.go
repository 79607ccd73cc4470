// Package python makes virtual environments for sets of Python functions, and
// keeps them in a cache:
//
//	env, err := python.Environment(ctx, python.Spec{Requirements: []string{"pharos-beam", "scipy==1.16.0"}})
//	pool, err := operator.NewPool(env, operator.PoolOptions{})
//
// Two specs with equal requirements share an environment. It is made once, also
// if several processes ask for it at the same time.
package python
