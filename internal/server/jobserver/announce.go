package jobserver

import (
	"context"
	"strings"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Headers of every answer of the Jobs API that is not a stream. By the version
// our runners for the SDKs know whether they fit this server.
const (
	VersionHeader = "pharos-version"
	HTTPHeader    = "pharos-http" // URL of the pages and JSON views
)

// Announce makes a server say who it is.
func Announce(version, httpURL string) grpc.ServerOption {
	header := metadata.Pairs(VersionHeader, version, HTTPHeader, httpURL)
	prefix := "/" + jobpb.JobService_ServiceDesc.ServiceName + "/"
	return grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if strings.HasPrefix(info.FullMethod, prefix) {
			if err := grpc.SetHeader(ctx, header); err != nil {
				return nil, err
			}
		}
		return next(ctx, req)
	})
}
