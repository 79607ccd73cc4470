package teststream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Method is the full name of the service's one method: it takes an
// EventsRequest and returns a stream of TestStreamPayload.Event.
const Method = "/org.apache.beam.model.interactive.v1.TestStreamService/Events"

// outputIDs is the number of the one field of an EventsRequest.
const outputIDs = 1

// Stream is a stream of events. One goroutine may use it.
type Stream struct {
	url    string
	tags   []string
	conn   *grpc.ClientConn
	events grpc.ClientStream
	count  int
}

// New returns the stream of events for outputs, by tag, of the service at url,
// which is asked at the first Next.
func New(url string, tags []string) *Stream { return &Stream{url: url, tags: tags} }

// Next waits for the next event. The error is io.EOF, not wrapped, after the
// last; other errors name the service.
func (s *Stream) Next(ctx context.Context) (*pipepb.TestStreamPayload_Event, error) {
	if s.events == nil {
		if err := s.open(ctx); err != nil {
			return nil, fmt.Errorf("the TestStream service at %s cannot be asked for events: %w", s.url, err)
		}
	}
	e := &pipepb.TestStreamPayload_Event{}
	switch err := s.events.RecvMsg(e); {
	case err == nil:
		s.count++
		return e, nil
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	default:
		return nil, fmt.Errorf("the TestStream service at %s failed after %d events: %w", s.url, s.count, err)
	}
}

func (s *Stream) open(ctx context.Context) (err error) {
	s.conn, err = grpc.NewClient(s.url, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	if err != nil {
		return err
	}
	events, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, Method)
	if err != nil {
		return err
	}
	if err := events.SendMsg(request(s.tags)); err != nil {
		return err
	}
	s.events = events
	return events.CloseSend()
}

// request makes an EventsRequest, for which Beam has no Go code: a message of
// no fields that it knows has the same encoding.
func request(tags []string) *emptypb.Empty {
	var raw []byte
	for _, t := range tags {
		raw = protowire.AppendTag(raw, outputIDs, protowire.BytesType)
		raw = protowire.AppendString(raw, t)
	}
	m := &emptypb.Empty{}
	m.ProtoReflect().SetUnknown(raw)
	return m
}

// Tags are the tags that a request asks for.
func Tags(request *emptypb.Empty) (tags []string) {
	for raw := request.ProtoReflect().GetUnknown(); len(raw) > 0; {
		_, _, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return tags
		}
		t, m := protowire.ConsumeString(raw[n:])
		if m < 0 {
			return tags
		}
		tags, raw = append(tags, t), raw[n+m:]
	}
	return tags
}

// Close ends the connection.
func (s *Stream) Close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
}
