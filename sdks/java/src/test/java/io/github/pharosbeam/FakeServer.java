package io.github.pharosbeam;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.beam.model.jobmanagement.v1.ArtifactApi.ArtifactRequestWrapper;
import org.apache.beam.model.jobmanagement.v1.ArtifactApi.ArtifactResponseWrapper;
import org.apache.beam.model.jobmanagement.v1.ArtifactStagingServiceGrpc;
import org.apache.beam.model.jobmanagement.v1.JobApi.CancelJobRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.CancelJobResponse;
import org.apache.beam.model.jobmanagement.v1.JobApi.DescribePipelineOptionsRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.DescribePipelineOptionsResponse;
import org.apache.beam.model.jobmanagement.v1.JobApi.DrainJobRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.DrainJobResponse;
import org.apache.beam.model.jobmanagement.v1.JobApi.GetJobMetricsRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.GetJobMetricsResponse;
import org.apache.beam.model.jobmanagement.v1.JobApi.GetJobStateRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobMessage;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobMessagesRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobMessagesResponse;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobState;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobStateEvent;
import org.apache.beam.model.jobmanagement.v1.JobApi.MetricResults;
import org.apache.beam.model.jobmanagement.v1.JobApi.PrepareJobRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.PrepareJobResponse;
import org.apache.beam.model.jobmanagement.v1.JobApi.RunJobRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.RunJobResponse;
import org.apache.beam.model.jobmanagement.v1.JobServiceGrpc;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Metadata;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Server;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ServerCall;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ServerCallHandler;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ServerInterceptor;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Status;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.netty.NettyServerBuilder;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.stub.StreamObserver;

/** A job service that does what a test tells it. One job; it ends when the test says so. */
final class FakeServer implements AutoCloseable {
  static final String JOB = "job-1";

  /** Set before a job is submitted. */
  Status refusal;

  /** What the server says it is; it says nothing when null. */
  volatile String version;

  volatile MetricResults metrics = MetricResults.getDefaultInstance();

  /** What the server asks of the staging client, one after the other. */
  final List<ArtifactRequestWrapper> questions = new ArrayList<>();

  /** Breaks of the message stream before it is whole, each after the first message. */
  volatile int breaks;

  // What the client did.
  final BlockingQueue<PrepareJobRequest> prepared = new LinkedBlockingQueue<>();
  final BlockingQueue<Object> answers = new LinkedBlockingQueue<>();

  private final List<JobMessagesResponse> messages = new ArrayList<>();
  private final CountDownLatch followed = new CountDownLatch(1);
  private final CountDownLatch ended = new CountDownLatch(1);
  private volatile JobState.Enum state = JobState.Enum.RUNNING;
  private final Server server;
  private final int port;

  FakeServer() {
    this(0);
  }

  /** A server at a port that is free; at any for 0. */
  FakeServer(int at) {
    try {
      server = NettyServerBuilder.forPort(at).addService(new Jobs()).addService(new Staging()).intercept(new Announce()).build().start();
      port = server.getPort();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  String endpoint() {
    return "localhost:" + port;
  }

  /** The runner says something; before the end. */
  void say(JobMessage.MessageImportance importance, String text) {
    messages.add(
        JobMessagesResponse.newBuilder()
            .setMessageResponse(JobMessage.newBuilder().setImportance(importance).setMessageText(text))
            .build());
  }

  /** Waits until somebody reads the messages. */
  void awaitFollower() {
    await(followed);
  }

  JobState.Enum state() {
    return state;
  }

  void end(JobState.Enum s) {
    state = s;
    messages.add(
        JobMessagesResponse.newBuilder().setStateResponse(JobStateEvent.newBuilder().setState(s)).build());
    ended.countDown();
  }

  @Override
  public void close() {
    server.shutdownNow();
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static <T> void reply(StreamObserver<T> to, T message) {
    to.onNext(message);
    to.onCompleted();
  }

  /** Puts the version into the headers of answers. */
  private final class Announce implements ServerInterceptor {
    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
      return next.startCall(
          new SimpleForwardingServerCall<Q, R>(call) {
            @Override
            public void sendHeaders(Metadata out) {
              if (version != null) {
                out.put(Metadata.Key.of("pharos-version", Metadata.ASCII_STRING_MARSHALLER), version);
              }
              super.sendHeaders(out);
            }
          },
          headers);
    }
  }

  private final class Jobs extends JobServiceGrpc.JobServiceImplBase {
    @Override
    public void describePipelineOptions(
        DescribePipelineOptionsRequest request, StreamObserver<DescribePipelineOptionsResponse> out) {
      reply(out, DescribePipelineOptionsResponse.getDefaultInstance());
    }

    @Override
    public void prepare(PrepareJobRequest request, StreamObserver<PrepareJobResponse> out) {
      prepared.add(request);
      if (refusal != null) {
        out.onError(refusal.asRuntimeException());
        return;
      }
      PrepareJobResponse.Builder response = PrepareJobResponse.newBuilder().setPreparationId("p").setStagingSessionToken("t");
      response.getArtifactStagingEndpointBuilder().setUrl(endpoint());
      reply(out, response.build());
    }

    @Override
    public void run(RunJobRequest request, StreamObserver<RunJobResponse> out) {
      reply(out, RunJobResponse.newBuilder().setJobId(JOB).build());
    }

    @Override
    public void getState(GetJobStateRequest request, StreamObserver<JobStateEvent> out) {
      reply(out, JobStateEvent.newBuilder().setState(state).build());
    }

    @Override
    public void cancel(CancelJobRequest request, StreamObserver<CancelJobResponse> out) {
      end(JobState.Enum.CANCELLED);
      reply(out, CancelJobResponse.newBuilder().setState(JobState.Enum.CANCELLING).build());
    }

    @Override
    public void drain(DrainJobRequest request, StreamObserver<DrainJobResponse> out) {
      end(JobState.Enum.DRAINED);
      reply(out, DrainJobResponse.newBuilder().setState(JobState.Enum.DRAINING).build());
    }

    @Override
    public void getJobMetrics(GetJobMetricsRequest request, StreamObserver<GetJobMetricsResponse> out) {
      reply(out, GetJobMetricsResponse.newBuilder().setMetrics(metrics).build());
    }

    @Override
    public void getMessageStream(JobMessagesRequest request, StreamObserver<JobMessagesResponse> out) {
      new Thread(
              () -> {
                followed.countDown();
                await(ended);
                if (breaks-- > 0) {
                  out.onNext(messages.get(0));
                  out.onError(Status.UNAVAILABLE.asRuntimeException());
                  return;
                }
                messages.forEach(out::onNext);
                out.onCompleted();
              })
          .start();
    }
  }

  private final class Staging extends ArtifactStagingServiceGrpc.ArtifactStagingServiceImplBase {
    @Override
    public StreamObserver<ArtifactResponseWrapper> reverseArtifactRetrievalService(
        StreamObserver<ArtifactRequestWrapper> out) {
      return new StreamObserver<ArtifactResponseWrapper>() {
        private int asked;

        @Override
        public void onNext(ArtifactResponseWrapper answer) {
          answers.add(answer);
          if (answer.hasGetArtifactResponse() && !answer.getIsLast()) {
            return;
          }
          if (asked < questions.size()) {
            out.onNext(questions.get(asked++));
          } else {
            out.onCompleted();
          }
        }

        @Override
        public void onError(Throwable t) {
          answers.add(t);
        }

        @Override
        public void onCompleted() {}
      };
    }
  }
}
