package io.github.pharosbeam;

import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.channels.Channels;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.beam.model.jobmanagement.v1.ArtifactApi.ArtifactRequestWrapper;
import org.apache.beam.model.jobmanagement.v1.ArtifactApi.ArtifactResponseWrapper;
import org.apache.beam.model.jobmanagement.v1.ArtifactApi.GetArtifactResponse;
import org.apache.beam.model.jobmanagement.v1.ArtifactApi.ResolveArtifactsResponse;
import org.apache.beam.model.jobmanagement.v1.ArtifactStagingServiceGrpc.ArtifactStagingServiceStub;
import org.apache.beam.model.pipeline.v1.RunnerApi.ArtifactFilePayload;
import org.apache.beam.model.pipeline.v1.RunnerApi.ArtifactInformation;
import org.apache.beam.model.pipeline.v1.RunnerApi.ArtifactUrlPayload;
import org.apache.beam.model.pipeline.v1.RunnerApi.EmbeddedFilePayload;
import org.apache.beam.model.pipeline.v1.RunnerApi.Environment;
import org.apache.beam.model.pipeline.v1.RunnerApi.Pipeline;
import org.apache.beam.model.pipeline.v1.RunnerApi.StandardArtifacts;
import org.apache.beam.sdk.io.FileSystems;
import org.apache.beam.sdk.util.construction.BeamUrns;
import org.apache.beam.sdk.util.construction.DefaultArtifactResolver;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.ByteString;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Status;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.stub.ClientCallStreamObserver;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.stub.ClientResponseObserver;

/**
 * The client's side of ReverseArtifactRetrievalService (beam_artifact_api.proto): the server asks for artifacts over a stream
 * that the client has opened, and ends the stream when it has all.
 *
 * <p>Only what the pipeline's environments name is handed out, whatever the server asks for. One offer serves one stream.
 */
final class ArtifactOffer {
  /** Bytes of one message; gRPC servers take 4 MiB by default. */
  private static final int CHUNK_BYTES = 1 << 20;

  private static final String FILE = BeamUrns.getUrn(StandardArtifacts.Types.FILE);
  private static final String URL = BeamUrns.getUrn(StandardArtifacts.Types.URL);
  private static final String EMBEDDED = BeamUrns.getUrn(StandardArtifacts.Types.EMBEDDED);

  /** What may be asked for: artifacts without their roles. */
  private final Set<ArtifactInformation> offered = new HashSet<>();

  ArtifactOffer(Pipeline pipeline) {
    for (Environment e : pipeline.getComponents().getEnvironmentsMap().values()) {
      offer(e.getDependenciesList());
    }
  }

  private void offer(List<ArtifactInformation> artifacts) {
    artifacts.forEach(a -> offered.add(content(a)));
  }

  private static ArtifactInformation content(ArtifactInformation a) {
    return a.toBuilder().clearRoleUrn().clearRolePayload().build();
  }

  /** Returns when the server has what it wants. */
  void serve(ArtifactStagingServiceStub stub, String token) {
    Stream stream = new Stream();
    stub.reverseArtifactRetrievalService(stream);
    try {
      stream.send(ArtifactResponseWrapper.newBuilder().setStagingToken(token).build());
      for (ArtifactRequestWrapper r; (r = stream.next()) != null; ) {
        answer(r, stream);
      }
      stream.out.onCompleted();
    } catch (IOException e) {
      stream.cancel(e);
      throw new PharosException("stage the pipeline's files: " + e.getMessage(), e);
    } catch (InterruptedException e) {
      stream.cancel(e);
      Thread.currentThread().interrupt();
      throw new PharosException("interrupted while the pipeline's files were staged", e);
    }
  }

  private void answer(ArtifactRequestWrapper r, Stream stream) throws IOException, InterruptedException {
    switch (r.getRequestCase()) {
      case RESOLVE_ARTIFACT:
        List<ArtifactInformation> resolved =
            DefaultArtifactResolver.INSTANCE.resolveArtifacts(r.getResolveArtifact().getArtifactsList());
        offer(resolved);
        stream.send(
            ArtifactResponseWrapper.newBuilder()
                .setResolveArtifactResponse(ResolveArtifactsResponse.newBuilder().addAllReplacements(resolved))
                .build());
        return;
      case GET_ARTIFACT:
        sendContent(r.getGetArtifact().getArtifact(), stream);
        return;
      default:
        throw new IOException("the server asks for something unknown: " + r.getRequestCase());
    }
  }

  private void sendContent(ArtifactInformation a, Stream stream) throws IOException, InterruptedException {
    if (!offered.contains(content(a))) {
      throw new IOException("the server asks for an artifact that is not part of the pipeline: " + a);
    }
    byte[] buffer = new byte[CHUNK_BYTES];
    try (InputStream in = open(a)) {
      for (int n; (n = in.readNBytes(buffer, 0, buffer.length)) > 0; ) {
        stream.send(chunk(ByteString.copyFrom(buffer, 0, n), false));
      }
    }
    stream.send(chunk(ByteString.EMPTY, true));
  }

  private static ArtifactResponseWrapper chunk(ByteString data, boolean last) {
    return ArtifactResponseWrapper.newBuilder()
        .setGetArtifactResponse(GetArtifactResponse.newBuilder().setData(data))
        .setIsLast(last)
        .build();
  }

  private static InputStream open(ArtifactInformation a) throws IOException {
    if (a.getTypeUrn().equals(FILE)) {
      String path = ArtifactFilePayload.parseFrom(a.getTypePayload()).getPath();
      return Channels.newInputStream(FileSystems.open(FileSystems.matchNewResource(path, false)));
    }
    if (a.getTypeUrn().equals(URL)) {
      return new URL(ArtifactUrlPayload.parseFrom(a.getTypePayload()).getUrl()).openStream();
    }
    if (a.getTypeUrn().equals(EMBEDDED)) {
      return EmbeddedFilePayload.parseFrom(a.getTypePayload()).getData().newInput();
    }
    throw new IOException("no way to deliver an artifact of type " + a.getTypeUrn());
  }

  /** The stream, read and written by one thread that waits for both. */
  private static final class Stream implements ClientResponseObserver<ArtifactResponseWrapper, ArtifactRequestWrapper> {
    private static final Object WRITABLE = new Object();
    private static final Object END = new Object();

    private ClientCallStreamObserver<ArtifactResponseWrapper> out;
    /** Requests, a Throwable that ended the stream, END; the server sends a request only after the answer to the last. */
    private final BlockingQueue<Object> in = new LinkedBlockingQueue<>();
    private final BlockingQueue<Object> writable = new LinkedBlockingQueue<>();

    @Override
    public void beforeStart(ClientCallStreamObserver<ArtifactResponseWrapper> call) {
      out = call;
      call.setOnReadyHandler(() -> writable.add(WRITABLE));
    }

    @Override
    public void onNext(ArtifactRequestWrapper request) {
      in.add(request);
    }

    @Override
    public void onError(Throwable t) {
      in.add(t);
      writable.add(t);
    }

    @Override
    public void onCompleted() {
      in.add(END);
      writable.add(END);
    }

    /** The next request; null at the stream's end. */
    ArtifactRequestWrapper next() throws IOException, InterruptedException {
      Object o = in.take();
      if (o instanceof Throwable) {
        throw broken((Throwable) o);
      }
      return o == END ? null : (ArtifactRequestWrapper) o;
    }

    /** Sends when the connection has room, so that a big file does not pile up in memory. */
    void send(ArtifactResponseWrapper message) throws IOException, InterruptedException {
      while (!out.isReady()) {
        Object o = writable.take();
        if (o instanceof Throwable) {
          throw broken((Throwable) o);
        }
        if (o == END) {
          throw new IOException("the server ended the stream early");
        }
      }
      out.onNext(message);
    }

    private static IOException broken(Throwable t) {
      Status s = Status.fromThrowable(t);
      return new IOException(s.getDescription() == null ? s.getCode().toString() : s.getDescription(), t);
    }

    void cancel(Exception why) {
      out.cancel(why.getMessage(), why);
    }
  }
}
