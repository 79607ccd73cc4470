package pharos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/pharos-beam/pharos/internal/server"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// restartPause is the time between two tries to reach a server that is gone.
const restartPause = 200 * time.Millisecond

// errNoEnd: the stream of messages ended before the job.
var errNoEnd = errors.New("its messages end before it does")

// follower is what is known of a job from its messages.
type follower struct {
	state     jobpb.JobState_Enum
	lastError string
	logged    int // messages
}

// follow logs what a job says, until it has ended, also over a restart of the
// server. It returns an error if the job failed, or if it is lost.
func (j *job) follow(ctx context.Context) error {
	var gone time.Time
	for {
		heard, err := j.read(ctx)
		switch {
		case server.Terminal(j.state):
			return j.failure()
		case ctx.Err() != nil:
			return ctx.Err()
		case status.Code(err) == codes.NotFound:
			return j.lost("does not know it", err)
		}
		if heard || gone.IsZero() {
			gone = time.Now()
		}
		if time.Since(gone) >= restartLimit || !j.remote {
			return j.lost("does not answer", err)
		}
		select {
		case <-time.After(restartPause):
		case <-ctx.Done():
		}
	}
}

// lost is the error of a job whose end is not known.
func (j *job) lost(why string, err error) error {
	return fmt.Errorf("lost job %s: the server at %s %s: %w", j.id, j.endpoint, why, err)
}

// read reads messages to their end, and says whether there were any. The stream
// begins with those that have been read before.
func (j *job) read(ctx context.Context) (heard bool, err error) {
	stream, err := j.client.GetMessageStream(ctx, &jobpb.JobMessagesRequest{JobId: j.id})
	if err != nil {
		return false, err
	}
	for n := 0; ; n++ {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return n > 0, errNoEnd
		}
		if err != nil {
			return n > 0, err
		}
		j.note(ctx, m, n >= j.logged)
		j.logged = max(j.logged, n+1)
	}
}

// note remembers what a message says, and logs it if it is new.
func (j *job) note(ctx context.Context, m *jobpb.JobMessagesResponse, isNew bool) {
	severity, text := log.SevInfo, ""
	if s := m.GetStateResponse(); s != nil {
		j.state = s.GetState()
		text = fmt.Sprintf("Job %s is %v", j.id, j.state)
	} else {
		said := m.GetMessageResponse()
		severity, text = severityOf(said.GetImportance()), said.GetMessageText()
		if severity == log.SevError {
			j.lastError = text
		}
	}
	if isNew {
		log.Output(ctx, severity, 1, text)
	}
}

// failure is the error of a job that has failed. One that was cancelled or drained
// has not, as in Beam's other runners for Go.
func (j *job) failure() error {
	if j.state != jobpb.JobState_FAILED {
		return nil
	}
	if j.lastError == "" {
		j.lastError = "the runner gave no reason"
	}
	return fmt.Errorf("job %s failed:\n%s", j.id, j.lastError)
}

func severityOf(importance jobpb.JobMessage_MessageImportance) log.Severity {
	switch importance {
	case jobpb.JobMessage_JOB_MESSAGE_ERROR:
		return log.SevError
	case jobpb.JobMessage_JOB_MESSAGE_WARNING:
		return log.SevWarn
	case jobpb.JobMessage_JOB_MESSAGE_DEBUG, jobpb.JobMessage_JOB_MESSAGE_DETAILED:
		return log.SevDebug
	}
	return log.SevInfo
}
