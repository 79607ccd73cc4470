package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pharos-beam/pharos/internal/harness/fnapi"
	"github.com/pharos-beam/pharos/operator"
	"github.com/pharos-beam/pharos/operator/arrow"
)

// ownSource are functions for pharos_beam.udf.
const ownSource = `
import pyarrow.compute as pc
from pharos_beam import udf

@udf.arrow(returns='int64')
def add(a, b):
    return pc.add(a, b)

@udf.scalar
def add_row(a: int, b: int) -> int:
    return a + b
`

// openOwn opens one of them in our own worker.
func openOwn(ctx context.Context, s *settings, function string) (*operator.Pool, *arrow.Operator, error) {
	pool, err := s.ownPool()
	if err != nil {
		return nil, nil, err
	}
	op, err := arrow.Open(ctx, pool, arrow.Function(arrow.Call{Function: function, Source: ownSource}), operator.Limits{})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return pool, op, nil
}

// ownMode measures batches of several sizes in one long bundle.
func ownMode(ctx context.Context, s *settings) error {
	pool, op, err := openOwn(ctx, s, "add")
	if err != nil {
		return err
	}
	defer pool.Close()
	for _, size := range []int64{1024, 10_000, 65_536} {
		rows := 4 * s.rows
		for range s.repeat + 1 {
			m := start(rows)
			if err := through(ctx, op.Operator, rows, size, sendArrow, checkArrow); err != nil {
				return err
			}
			m.report(fmt.Sprintf("pharos_beam.udf, batch %d", size))
		}
	}
	return nil
}

// ownRowMode measures a function that is called for each row.
func ownRowMode(ctx context.Context, s *settings) error {
	pool, op, err := openOwn(ctx, s, "add_row")
	if err != nil {
		return err
	}
	defer pool.Close()
	for range s.repeat + 1 {
		m := start(s.rows)
		if err := through(ctx, op.Operator, s.rows, 10_000, sendArrow, checkArrow); err != nil {
			return err
		}
		m.report("pharos_beam.udf, row")
	}
	return nil
}

// roundTrips is how many calls latency is taken of.
const roundTrips = 2_000

// latencyMode measures the round trip of a batch of 1,024 rows.
func latencyMode(ctx context.Context, s *settings) error {
	pool, op, err := openOwn(ctx, s, "add")
	if err != nil {
		return err
	}
	defer pool.Close()
	b := numbers(0, 1024)
	return latencies("pharos_beam.udf, 1024 rows", func() error {
		out, err := op.Call(ctx, b)
		if err == nil {
			out.Release()
		}
		return err
	})
}

// latencies prints percentiles of how long call takes.
func latencies(what string, call func() error) error {
	var all []time.Duration
	for i := range roundTrips + roundTrips/10 {
		begin := time.Now()
		if err := call(); err != nil {
			return err
		}
		if i >= roundTrips/10 { // after warming up
			all = append(all, time.Since(begin))
		}
	}
	slices.Sort(all)
	fmt.Printf("%-28s round trip p50 %v, p90 %v, p99 %v\n", what, all[len(all)/2], all[len(all)*9/10], all[len(all)*99/100])
	return nil
}

// echo is a data service that sends back what it gets.
type echo struct {
	fnpb.UnimplementedBeamFnDataServer
}

func (echo) Data(s fnpb.BeamFnData_DataServer) error {
	for {
		e, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = s.Send(e)
		}
		if err != nil {
			return err
		}
	}
}

// echoMode measures the same bytes over a bare gRPC stream, Go to Go.
func echoMode(ctx context.Context, _ *settings) error {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g := grpc.NewServer(fnapi.ServerOptions()...)
	fnpb.RegisterBeamFnDataServer(g, echo{})
	go func() { _ = g.Serve(lis) }()
	defer g.Stop()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := fnpb.NewBeamFnDataClient(conn).Data(ctx)
	if err != nil {
		return err
	}
	data, err := arrow.Encode(numbers(0, 1024))
	if err != nil {
		return err
	}
	return latencies("bare gRPC echo, 1024 rows", func() error {
		err := stream.Send(&fnpb.Elements{Data: []*fnpb.Elements_Data{{InstructionId: "1", TransformId: "t", Data: data}}})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	})
}
