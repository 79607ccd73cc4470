package jobserver

import (
	"strings"
	"time"
	"unicode/utf8"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/pharos-beam/pharos/internal/server"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	// maxMessageText bounds a job message on the wire: clients refuse gRPC
	// messages above 4 MiB, and a user's exception may quote any amount of data.
	maxMessageText = 1 << 20
	// maxStatusText bounds an error's text: it travels in an HTTP/2 trailer, and
	// clients limit those (Java: 8 KiB by default, which counts escaped bytes).
	maxStatusText = 6 << 10
)

// noReason is what a client is told when a job failed and said nothing: Go's
// client waits for an error message, Java's raises none without.
const noReason = "the job failed; no reason was recorded"

// GetStateStream sends the current state at once and then every change, until
// the terminal state.
//
// Python's client opens it, and then the message stream, on the preparation id
// before Run, with a deadline (job_server_timeout, 60 s by default) that breaks
// off every job that takes longer. If that fails, it opens both streams after
// Run, without one. So it has to fail.
func (s *Server) GetStateStream(req *jobpb.GetJobStateRequest, stream jobpb.JobService_GetStateStreamServer) error {
	j, err := s.job(req.GetJobId())
	if err != nil {
		return err
	}
	last, since := j.State()
	if _, hasDeadline := stream.Context().Deadline(); hasDeadline && last == jobpb.JobState_STOPPED {
		return status.Error(codes.FailedPrecondition, "the job has not been run; its states cannot be followed with a deadline before that")
	}
	if err := stream.Send(stateEvent(last, since)); err != nil {
		return err
	}
	// Events replays history: what is older than the state just sent is not news.
	for e := range j.Events(stream.Context()) {
		if e.Message != nil || e.State == last || !e.At.After(since) {
			continue
		}
		last, since = e.State, e.At
		if err := stream.Send(stateEvent(last, since)); err != nil {
			return err
		}
	}
	if err := stream.Context().Err(); err != nil {
		return statusOf(err)
	}
	// Clocks are coarse: two states may share an instant. The last one counts.
	if st, at := j.State(); st != last {
		return stream.Send(stateEvent(st, at))
	}
	return nil
}

// GetMessageStream sends all messages and states of a job, from the first one
// on, and ends after the terminal state: clients wait for its end. A failed job
// always has an error message before its terminal state.
func (s *Server) GetMessageStream(req *jobpb.JobMessagesRequest, stream jobpb.JobService_GetMessageStreamServer) error {
	j, err := s.job(req.GetJobId())
	if err != nil {
		return err
	}
	explained := false
	for e := range j.Events(stream.Context()) {
		if e.Message != nil {
			explained = explained || e.Message.GetImportance() == jobpb.JobMessage_JOB_MESSAGE_ERROR
			if err := stream.Send(messageResponse(e)); err != nil {
				return err
			}
			continue
		}
		if e.State == jobpb.JobState_FAILED && !explained {
			explained = true
			why := &jobpb.JobMessage{Importance: jobpb.JobMessage_JOB_MESSAGE_ERROR, MessageText: noReason}
			if err := stream.Send(messageResponse(server.Event{At: e.At, Message: why})); err != nil {
				return err
			}
		}
		if err := stream.Send(stateResponse(e)); err != nil {
			return err
		}
	}
	if err := stream.Context().Err(); err != nil {
		return statusOf(err)
	}
	return nil
}

func stateResponse(e server.Event) *jobpb.JobMessagesResponse {
	return &jobpb.JobMessagesResponse{Response: &jobpb.JobMessagesResponse_StateResponse{StateResponse: stateEvent(e.State, e.At)}}
}

// messageResponse fills in what is missing and makes the text safe to send: a
// proto string that is not UTF-8 fails the whole stream.
func messageResponse(e server.Event) *jobpb.JobMessagesResponse {
	m := &jobpb.JobMessage{
		MessageId:   e.Message.GetMessageId(),
		Time:        e.Message.GetTime(),
		Importance:  e.Message.GetImportance(),
		MessageText: clip(e.Message.GetMessageText(), maxMessageText),
	}
	if m.Time == "" {
		m.Time = e.At.UTC().Format(time.RFC3339Nano)
	}
	return &jobpb.JobMessagesResponse{Response: &jobpb.JobMessagesResponse_MessageResponse{MessageResponse: m}}
}

func stateEvent(s jobpb.JobState_Enum, at time.Time) *jobpb.JobStateEvent {
	return &jobpb.JobStateEvent{State: s, Timestamp: timestamppb.New(at)}
}

// clip makes s valid UTF-8 of at most limit bytes. It cuts out the middle: the
// head of a traceback says where, its tail says what.
func clip(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	const gap = "\n... (cut) ...\n"
	if len(s) <= limit {
		return s
	}
	keep := (limit - len(gap)) / 2
	head, tail := s[:keep], s[len(s)-keep:]
	for !utf8.ValidString(head) {
		head = head[:len(head)-1]
	}
	for !utf8.RuneStart(tail[0]) {
		tail = tail[1:]
	}
	return head + gap + tail
}
