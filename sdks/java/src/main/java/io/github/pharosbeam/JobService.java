package io.github.pharosbeam;

import java.util.Iterator;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import org.apache.beam.model.jobmanagement.v1.ArtifactStagingServiceGrpc;
import org.apache.beam.model.jobmanagement.v1.JobApi.CancelJobRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.DescribePipelineOptionsRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.DrainJobRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.GetJobMetricsRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.GetJobStateRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobMessagesRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobMessagesResponse;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobState;
import org.apache.beam.model.jobmanagement.v1.JobApi.MetricResults;
import org.apache.beam.model.jobmanagement.v1.JobApi.PrepareJobRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.PrepareJobResponse;
import org.apache.beam.model.jobmanagement.v1.JobApi.RunJobRequest;
import org.apache.beam.model.jobmanagement.v1.JobServiceGrpc;
import org.apache.beam.model.jobmanagement.v1.JobServiceGrpc.JobServiceBlockingStub;
import org.apache.beam.model.pipeline.v1.Endpoints.ApiServiceDescriptor;
import org.apache.beam.model.pipeline.v1.RunnerApi;
import org.apache.beam.sdk.fn.channel.ManagedChannelFactory;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ClientInterceptor;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ConnectivityState;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ManagedChannel;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Metadata;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Status;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.StatusRuntimeException;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.stub.MetadataUtils;
import org.apache.beam.vendor.guava.v32_1_2_jre.com.google.common.net.HostAndPort;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A server of Beam's Jobs API, its calls and what their errors mean to a user. Threads may share it. */
final class JobService implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(JobService.class);
  private static final int CLOSE_S = 5;

  /** Between two tries to reach a server that is not there: gRPC's own pauses grow to minutes. */
  private static final long RETRY_PAUSE_S = 1;

  /** Before a warning that nobody is there. */
  private static final long PATIENCE_S = 2;

  /** In every answer of a Pharos server (internal/server/jobserver/announce.go). */
  private static final Metadata.Key<String> VERSION_HEADER =
      Metadata.Key.of("pharos-version", Metadata.ASCII_STRING_MARSHALLER);

  private final String endpoint;
  private final int callLimitS;
  private final ManagedChannel channel;
  private final JobServiceBlockingStub stub;

  /**
   * Connects with the first call.
   *
   * @param endpoint HOST:PORT
   * @param callLimitS how long a call may take, in seconds; streams have no limit
   */
  JobService(String endpoint, int callLimitS) {
    this.endpoint = checked(endpoint);
    this.callLimitS = callLimitS;
    channel = channelTo(endpoint);
    stub = JobServiceGrpc.newBlockingStub(channel);
  }

  private static String checked(String endpoint) {
    try {
      if (HostAndPort.fromString(endpoint).hasPort()) {
        return endpoint;
      }
    } catch (IllegalArgumentException e) {
      // said below
    }
    throw new PharosException("the endpoint \"" + endpoint + "\" is not HOST:PORT");
  }

  private static ManagedChannel channelTo(String endpoint) {
    return ManagedChannelFactory.createDefault()
        .forDescriptor(ApiServiceDescriptor.newBuilder().setUrl(endpoint).build());
  }

  /**
   * Asks the server who it is. It is waited for as long as a call may take: perhaps it is just being started.
   *
   * @throws PharosException if nobody answers in time, this thread is interrupted, or the server is a Pharos that this package
   *     does not fit, which names both versions
   */
  void greet() {
    awaitServer();
    AtomicReference<Metadata> headers = new AtomicReference<>();
    ClientInterceptor capture = MetadataUtils.newCaptureMetadataInterceptor(headers, new AtomicReference<>());
    call(
        "submit the pipeline",
        s -> s.withInterceptors(capture).describePipelineOptions(DescribePipelineOptionsRequest.getDefaultInstance()));
    String theirs = headers.get() == null ? null : headers.get().get(VERSION_HEADER);
    if (theirs == null) {
      LOG.warn("the server at {} does not say that it is Pharos", endpoint);
    } else if (!Version.fits(theirs, Version.OWN)) {
      throw new PharosException(
          "the server at " + endpoint + " is Pharos " + theirs + ", and this is pharos-beam " + Version.OWN
              + ": use the one that fits the other");
    }
  }

  private void awaitServer() {
    long began = System.nanoTime();
    boolean warned = false;
    for (ConnectivityState state; (state = channel.getState(true)) != ConnectivityState.READY; ) {
      long gone = System.nanoTime() - began;
      long left = TimeUnit.SECONDS.toNanos(callLimitS) - gone;
      if (left <= 0) {
        throw new PharosException(
            "no job service answers at " + endpoint + " within " + callLimitS
                + " s (--jobServerTimeout): is `pharos serve` running there?");
      }
      if (!warned && gone >= TimeUnit.SECONDS.toNanos(PATIENCE_S)) {
        warned = true;
        LOG.warn("no job service answers at {} yet; waiting {} s for one", endpoint, callLimitS);
      }
      awaitChange(state, Math.min(left, TimeUnit.SECONDS.toNanos(RETRY_PAUSE_S)));
    }
  }

  /** Waits until the channel is no longer in a state; after that time it tries to connect once more. */
  private void awaitChange(ConnectivityState state, long limitNs) {
    CountDownLatch changed = new CountDownLatch(1);
    channel.notifyWhenStateChanged(state, changed::countDown);
    try {
      if (!changed.await(limitNs, TimeUnit.NANOSECONDS)) {
        channel.resetConnectBackoff();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new PharosException("interrupted while waiting for the job service at " + endpoint, e);
    }
  }

  PrepareJobResponse prepare(PrepareJobRequest request) {
    return call("submit the pipeline", s -> s.prepare(request));
  }

  /** Answers the server's questions for files until it has them all. */
  void stage(PrepareJobResponse prepared, RunnerApi.Pipeline pipeline) {
    String at = prepared.getArtifactStagingEndpoint().getUrl();
    ManagedChannel staging = at.isEmpty() || at.equals(endpoint) ? channel : channelTo(at);
    try {
      new ArtifactOffer(pipeline).serve(ArtifactStagingServiceGrpc.newStub(staging), prepared.getStagingSessionToken());
    } finally {
      if (staging != channel) {
        close(staging);
      }
    }
  }

  /** Starts a prepared job and returns its id. */
  String run(String preparationId) {
    return call(
        "start the job", s -> s.run(RunJobRequest.newBuilder().setPreparationId(preparationId).build()).getJobId());
  }

  JobState.Enum state(String jobId) {
    return call("ask for the job's state", s -> s.getState(GetJobStateRequest.newBuilder().setJobId(jobId).build()).getState());
  }

  JobState.Enum cancel(String jobId) {
    return call("cancel the job", s -> s.cancel(CancelJobRequest.newBuilder().setJobId(jobId).build()).getState());
  }

  JobState.Enum drain(String jobId) {
    return call("drain the job", s -> s.drain(DrainJobRequest.newBuilder().setJobId(jobId).build()).getState());
  }

  MetricResults metrics(String jobId) {
    return call(
        "ask for the job's metrics",
        s -> s.getJobMetrics(GetJobMetricsRequest.newBuilder().setJobId(jobId).build()).getMetrics());
  }

  /** All messages and states of a job from its start to its end. A broken stream throws StatusRuntimeException. */
  Iterator<JobMessagesResponse> messages(String jobId) {
    return stub.getMessageStream(JobMessagesRequest.newBuilder().setJobId(jobId).build());
  }

  private <T> T call(String what, Function<JobServiceBlockingStub, T> rpc) {
    try {
      return rpc.apply(stub.withDeadlineAfter(callLimitS, TimeUnit.SECONDS));
    } catch (StatusRuntimeException e) {
      throw new PharosException(explain(what, e.getStatus()), e);
    }
  }

  private String explain(String what, Status status) {
    String said = status.getDescription() == null ? status.getCode().toString() : status.getDescription();
    switch (status.getCode()) {
      case UNAVAILABLE:
        return "cannot " + what + ": no job service answers at " + endpoint + " (is `pharos serve` running there?)";
      case UNIMPLEMENTED:
        return "cannot " + what + ": the server at " + endpoint + " does not do that (is it a job service?): " + said;
      case DEADLINE_EXCEEDED:
        return "cannot " + what + ": no answer from " + endpoint + " within " + callLimitS + " s (--jobServerTimeout)";
      case INVALID_ARGUMENT:
        return "the runner rejects it: " + said;
      default:
        return "cannot " + what + ": " + said;
    }
  }

  /** HOST:PORT of the server. */
  String endpoint() {
    return endpoint;
  }

  @Override
  public void close() {
    close(channel);
  }

  private static void close(ManagedChannel c) {
    c.shutdown();
    try {
      if (!c.awaitTermination(CLOSE_S, TimeUnit.SECONDS)) {
        c.shutdownNow();
      }
    } catch (InterruptedException e) {
      c.shutdownNow();
      Thread.currentThread().interrupt();
    }
  }
}
