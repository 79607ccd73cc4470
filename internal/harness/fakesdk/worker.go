package fakesdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// inboxLen is how many messages one bundle holds before the data stream is not
// read any more, as in the Go SDK.
const inboxLen = 20

// HangLimit is how long a test waits for what comes at once, also on a machine that
// is busy with something else.
const HangLimit = time.Minute

// ErrSilent makes a bundle end without any response.
var ErrSilent = errors.New("no response")

// Silent as the result of Config.Other is no response.
var Silent = &fnpb.InstructionResponse{}

// Config describes a worker.
type Config struct {
	// Target is the address of the Fn API.
	Target string
	// Dial are further options for the connection.
	Dial []grpc.DialOption
	// ID is the worker id.
	ID string
	// Process runs a bundle; Echo when nil. Its error is the SDK's answer.
	Process func(*Bundle) error
	// Other answers instructions other than process_bundle. When it is nil or
	// returns nil, nothing is split off a bundle, and all else is an error.
	Other func(*fnpb.InstructionRequest) *fnpb.InstructionResponse
	// Embed puts a bundle's output into its response.
	Embed bool
}

// Worker is a fake SDK worker.
type Worker struct {
	cfg  Config
	conn *grpc.ClientConn
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	control   fnpb.BeamFnControl_ControlClient
	controlMu sync.Mutex
	ended     chan struct{} // the control stream ended

	mu          sync.Mutex
	data        fnpb.BeamFnData_DataClient
	state       fnpb.BeamFnState_StateClient
	bundles     map[string]*Bundle
	done        map[string]bool
	descriptors map[string]*fnpb.ProcessBundleDescriptor
	stateCalls  map[string]chan *fnpb.StateResponse
	stateID     int
	dataMu      sync.Mutex
	stateMu     sync.Mutex
}

// Start connects a worker and serves bundles until Stop or the end of its
// control stream.
func Start(cfg Config) (*Worker, error) {
	if cfg.Process == nil {
		cfg.Process = Echo
	}
	dial := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
		grpc.WithInitialWindowSize(4 << 20), grpc.WithInitialConnWindowSize(16 << 20),
	}, cfg.Dial...)
	conn, err := grpc.NewClient(cfg.Target, dial...)
	if err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, conn: conn, ended: make(chan struct{}),
		bundles: map[string]*Bundle{}, done: map[string]bool{},
		descriptors: map[string]*fnpb.ProcessBundleDescriptor{},
		stateCalls:  map[string]chan *fnpb.StateResponse{},
	}
	ctx := metadata.AppendToOutgoingContext(context.Background(), "worker_id", cfg.ID)
	w.ctx, w.stop = context.WithCancel(ctx)
	if w.control, err = fnpb.NewBeamFnControlClient(conn).Control(w.ctx); err != nil {
		w.Stop()
		return nil, err
	}
	if _, err := w.control.Header(); err != nil {
		w.Stop()
		return nil, err
	}
	w.wg.Add(1)
	go w.serve()
	return w, nil
}

// Conn returns the worker's connection, for calls of a test's own.
func (w *Worker) Conn() (*grpc.ClientConn, context.Context) { return w.conn, w.ctx }

// Ended is closed when the control stream ended.
func (w *Worker) Ended() <-chan struct{} { return w.ended }

// Kill breaks the connection like the death of a process.
func (w *Worker) Kill() {
	w.conn.Close()
	w.stop()
}

// Stop kills the worker and waits for its goroutines.
func (w *Worker) Stop() {
	w.Kill()
	w.wg.Wait()
}

// serve handles instructions.
func (w *Worker) serve() {
	defer w.wg.Done()
	defer w.stop()
	defer close(w.ended)
	for {
		req, err := w.control.Recv()
		if err != nil {
			return
		}
		if req.GetProcessBundle() == nil {
			w.other(req)
			continue
		}
		b := w.bundle(req.GetInstructionId())
		b.Request = req.GetProcessBundle()
		w.wg.Add(1)
		go w.run(b)
	}
}

// other answers what is not a bundle.
func (w *Worker) other(req *fnpb.InstructionRequest) {
	var r *fnpb.InstructionResponse
	if w.cfg.Other != nil {
		r = w.cfg.Other(req)
	}
	if r == nil {
		r = w.fallback(req)
	}
	if r == Silent {
		return
	}
	r.InstructionId = req.GetInstructionId()
	w.Respond(r)
}

// fallback answers as an SDK does that splits nothing.
func (w *Worker) fallback(req *fnpb.InstructionRequest) *fnpb.InstructionResponse {
	if req.GetProcessBundleSplit() != nil {
		return &fnpb.InstructionResponse{Response: &fnpb.InstructionResponse_ProcessBundleSplit{
			ProcessBundleSplit: &fnpb.ProcessBundleSplitResponse{},
		}}
	}
	return &fnpb.InstructionResponse{Error: fmt.Sprintf("unknown instruction %T", req.GetRequest())}
}

// Respond sends any response.
func (w *Worker) Respond(r *fnpb.InstructionResponse) {
	w.controlMu.Lock()
	defer w.controlMu.Unlock()
	_ = w.control.Send(r)
}

// bundle finds or makes the bundle with an id; nil when it is over.
func (w *Worker) bundle(id string) *Bundle {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b := w.bundles[id]; b != nil {
		return b
	}
	if w.done[id] {
		return nil
	}
	b := &Bundle{w: w, ID: id, in: make(chan Item, inboxLen), over: make(chan struct{})}
	w.bundles[id] = b
	return b
}

// run runs one bundle.
func (w *Worker) run(b *Bundle) {
	defer w.wg.Done()
	err := b.prepare()
	if err == nil {
		err = w.cfg.Process(b)
	}
	w.mu.Lock()
	delete(w.bundles, b.ID)
	w.done[b.ID] = true
	w.mu.Unlock()
	close(b.over)
	switch {
	case errors.Is(err, ErrSilent):
		return
	case err != nil:
		w.Respond(&fnpb.InstructionResponse{InstructionId: b.ID, Error: err.Error()})
		return
	}
	b.closeOutputs()
	w.Respond(&fnpb.InstructionResponse{
		InstructionId: b.ID,
		Response:      &fnpb.InstructionResponse_ProcessBundle{ProcessBundle: &b.Response},
	})
}

// descriptor fetches a descriptor once.
func (w *Worker) descriptor(id string) (*fnpb.ProcessBundleDescriptor, error) {
	w.mu.Lock()
	d := w.descriptors[id]
	w.mu.Unlock()
	if d != nil {
		return d, nil
	}
	d, err := fnpb.NewBeamFnControlClient(w.conn).GetProcessBundleDescriptor(w.ctx,
		&fnpb.GetProcessBundleDescriptorRequest{ProcessBundleDescriptorId: id})
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.descriptors[id] = d
	w.mu.Unlock()
	return d, nil
}

// SendElements sends any message on the data stream.
func (w *Worker) SendElements(e *fnpb.Elements) error {
	s, err := w.dataStream()
	if err != nil {
		return err
	}
	w.dataMu.Lock()
	defer w.dataMu.Unlock()
	return s.Send(e)
}

// dataStream opens the data stream when it is first needed.
func (w *Worker) dataStream() (fnpb.BeamFnData_DataClient, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.data != nil {
		return w.data, nil
	}
	s, err := fnpb.NewBeamFnDataClient(w.conn).Data(w.ctx)
	if err != nil {
		return nil, err
	}
	w.data = s
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		for {
			e, err := s.Recv()
			if err != nil {
				return
			}
			w.route(e)
		}
	}()
	return s, nil
}

// route hands input to bundles.
func (w *Worker) route(e *fnpb.Elements) {
	for _, d := range e.GetData() {
		w.deliver(d.GetInstructionId(), Item{Transform: d.GetTransformId(), Data: d.GetData(), Last: d.GetIsLast()})
	}
	for _, t := range e.GetTimers() {
		w.deliver(t.GetInstructionId(), Item{Transform: t.GetTransformId(), Family: t.GetTimerFamilyId(), Timer: true, Data: t.GetTimers(), Last: t.GetIsLast()})
	}
}

func (w *Worker) deliver(id string, i Item) {
	b := w.bundle(id)
	if b == nil {
		return
	}
	select {
	case b.in <- i:
	case <-b.over:
	case <-w.ctx.Done():
	}
}

// StateRequest sends any state request and waits for its response.
func (w *Worker) StateRequest(req *fnpb.StateRequest) (*fnpb.StateResponse, error) {
	s, err := w.stateStream()
	if err != nil {
		return nil, err
	}
	answer := make(chan *fnpb.StateResponse, 1)
	w.mu.Lock()
	w.stateID++
	req.Id = strconv.Itoa(w.stateID)
	w.stateCalls[req.Id] = answer
	w.mu.Unlock()
	w.stateMu.Lock()
	err = s.Send(req)
	w.stateMu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		if r.GetError() != "" {
			return r, errors.New(r.GetError())
		}
		return r, nil
	case <-w.ctx.Done():
		return nil, io.ErrUnexpectedEOF
	}
}

// stateStream opens the state stream when it is first needed.
func (w *Worker) stateStream() (fnpb.BeamFnState_StateClient, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != nil {
		return w.state, nil
	}
	s, err := fnpb.NewBeamFnStateClient(w.conn).State(w.ctx)
	if err != nil {
		return nil, err
	}
	w.state = s
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			w.mu.Lock()
			answer := w.stateCalls[r.GetId()]
			delete(w.stateCalls, r.GetId())
			w.mu.Unlock()
			if answer != nil {
				answer <- r
			}
		}
	}()
	return s, nil
}
