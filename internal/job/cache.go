package job

import (
	"fmt"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
)

// cacheTokens say what an SDK harness may keep in its cache beyond the bundle:
// a token stands for a content, so it changes when the harness could have
// another content in mind than the runner.
//
// Bounded side inputs are complete before they are read, so they never change.
// User state is changed by the bundles alone, and a key's bundles follow one
// another; where all of them run in one harness, that knows the state, unless
// an attempt failed whose changes it has kept.
func (a *attempt) cacheTokens(oneHarness bool) []*fnpb.ProcessBundleRequest_CacheToken {
	var tokens []*fnpb.ProcessBundleRequest_CacheToken
	for i, side := range a.s.plan.SideInputs {
		if !side.Collection.Bounded {
			continue
		}
		tokens = append(tokens, &fnpb.ProcessBundleRequest_CacheToken{
			Type: &fnpb.ProcessBundleRequest_CacheToken_SideInput_{SideInput: &fnpb.ProcessBundleRequest_CacheToken_SideInput{
				TransformId: side.Transform, SideInputId: side.Local,
			}},
			Token: fmt.Appendf(nil, "%s/%d/side/%d", a.r.job, a.ev.Stage, i),
		})
	}
	if a.s.stateful() && oneHarness {
		tokens = append(tokens, &fnpb.ProcessBundleRequest_CacheToken{
			Type:  &fnpb.ProcessBundleRequest_CacheToken_UserState_{UserState: &fnpb.ProcessBundleRequest_CacheToken_UserState{}},
			Token: fmt.Appendf(nil, "%s/%d/state/%d", a.r.job, a.ev.Stage, a.s.failures.Load()),
		})
	}
	return tokens
}
