package io.github.pharosbeam;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.apache.beam.model.jobmanagement.v1.ArtifactApi.ArtifactRequestWrapper;
import org.apache.beam.model.jobmanagement.v1.ArtifactApi.ArtifactResponseWrapper;
import org.apache.beam.model.jobmanagement.v1.ArtifactApi.GetArtifactRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobMessage.MessageImportance;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobState;
import org.apache.beam.model.jobmanagement.v1.JobApi.MetricResults;
import org.apache.beam.model.jobmanagement.v1.JobApi.PrepareJobRequest;
import org.apache.beam.model.pipeline.v1.MetricsApi.MonitoringInfo;
import org.apache.beam.model.pipeline.v1.RunnerApi.ArtifactFilePayload;
import org.apache.beam.model.pipeline.v1.RunnerApi.ArtifactInformation;
import org.apache.beam.model.pipeline.v1.RunnerApi.Environment;
import org.apache.beam.model.pipeline.v1.RunnerApi.ExternalPayload;
import org.apache.beam.model.pipeline.v1.RunnerApi.PTransform;
import org.apache.beam.model.pipeline.v1.RunnerApi.ProcessPayload;
import org.apache.beam.runners.core.metrics.MonitoringInfoEncodings;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.Pipeline.PipelineExecutionException;
import org.apache.beam.sdk.PipelineResult.State;
import org.apache.beam.sdk.metrics.MetricResult;
import org.apache.beam.sdk.metrics.MetricsFilter;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.transforms.Create;
import org.apache.beam.sdk.util.construction.Environments;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.ByteString;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.Status;
import org.joda.time.Duration;
import org.junit.After;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;
import org.junit.rules.Timeout;

/** The client, against a job service that plays. */
public class PharosRunnerTest {
  @Rule public final Timeout limit = Timeout.seconds(180);
  @Rule public final TemporaryFolder temp = new TemporaryFolder();

  private final FakeServer server = new FakeServer();

  @After
  public void close() {
    server.close();
  }

  private PipelineOptions options(String... args) {
    return PipelineOptionsFactory.fromArgs(args).withValidation().create();
  }

  private PharosPipelineResult run(String... more) {
    String[] args = new String[more.length + 2];
    args[0] = "--runner=PharosRunner";
    args[1] = "--pharosEndpoint=" + server.endpoint();
    System.arraycopy(more, 0, args, 2, more.length);
    Pipeline p = Pipeline.create(options(args));
    p.apply("Numbers", Create.of(1, 2, 3));
    return (PharosPipelineResult) p.run();
  }

  private Environment submittedEnvironment() throws Exception {
    return server.prepared.take().getPipeline().getComponents().getEnvironmentsMap().values().iterator().next();
  }

  @Test
  public void aJobRunsToItsEnd() throws Exception {
    PharosPipelineResult result = run("--jobName=numbers", "--maxAttempts=2");
    assertEquals(State.RUNNING, result.getState());
    assertNull(result.waitUntilFinish(Duration.millis(1)));
    server.end(JobState.Enum.DONE);
    assertEquals(State.DONE, result.waitUntilFinish());
    assertEquals(FakeServer.JOB, result.getJobId());
    PrepareJobRequest prepared = server.prepared.take();
    assertEquals("numbers", prepared.getJobName());
    assertEquals(2, prepared.getPipelineOptions().getFieldsOrThrow("beam:option:max_attempts:v1").getNumberValue(), 0);
    server.close();
    assertEquals(State.DONE, result.getState()); // known without the server
  }

  @Test
  public void aFailedJobThrowsWhatTheRunnerSaid() {
    PharosPipelineResult result = run();
    server.say(MessageImportance.JOB_MESSAGE_ERROR, "first attempt");
    server.say(MessageImportance.JOB_MESSAGE_ERROR, "Numbers: java.lang.IllegalStateException: no more");
    server.end(JobState.Enum.FAILED);
    PipelineExecutionException e = assertThrows(PipelineExecutionException.class, result::waitUntilFinish);
    assertEquals(JobFailedException.class, e.getCause().getClass());
    assertEquals("job job-1 failed: Numbers: java.lang.IllegalStateException: no more", e.getCause().getMessage());
    assertEquals(State.FAILED, result.getState());
  }

  @Test
  public void aServerOfAnotherVersionIsNamedWithThisOne() {
    server.version = "99.0.0";
    PharosException e = assertThrows(PharosException.class, () -> run());
    assertTrue(e.getMessage(), e.getMessage().contains("is Pharos 99.0.0, and this is pharos-beam " + Version.OWN));
    assertTrue(server.prepared.isEmpty());
    server.version = Version.OWN;
    server.end(JobState.Enum.DONE);
    assertEquals(State.DONE, run().waitUntilFinish());
  }

  @Test
  public void cancelAndDrainEndAJob() {
    PharosPipelineResult result = run();
    assertEquals(State.RUNNING, result.cancel());
    assertEquals(State.CANCELLED, result.waitUntilFinish());
    assertEquals(State.CANCELLED, result.cancel()); // nothing to do any more
  }

  @Test
  public void aDrainedJobIsDone() {
    PharosPipelineResult result = run();
    assertEquals(State.RUNNING, result.drain());
    assertEquals(State.DONE, result.waitUntilFinish());
    assertEquals(JobState.Enum.DRAINED, result.getJobState());
  }

  @Test
  public void everyStateOfTheJobsApiHasOneOfTheSdk() {
    for (JobState.Enum s : JobState.Enum.values()) {
      State state = PharosPipelineResult.state(s);
      assertEquals(s.toString(), PharosPipelineResult.terminal(s), state.isTerminal() && state != State.UNRECOGNIZED);
    }
    assertTrue(PharosPipelineResult.state(JobState.Enum.UPDATED).hasReplacementJob());
  }

  @Test
  public void aBrokenStreamOfMessagesIsOpenedAgain() {
    PharosPipelineResult result = run();
    server.breaks = 2;
    server.say(MessageImportance.JOB_MESSAGE_BASIC, "hello");
    server.end(JobState.Enum.DONE);
    assertEquals(State.DONE, result.waitUntilFinish());
  }

  @Test
  public void aLostServerIsAnErrorNotAHang() {
    PharosPipelineResult result = run("--jobServerTimeout=1");
    String endpoint = server.endpoint();
    server.close();
    PharosException e = assertThrows(PharosException.class, result::waitUntilFinish);
    assertEquals("lost job job-1: the server at " + endpoint + " does not answer", e.getMessage());
  }

  @Test
  public void anInterruptEndsTheWaitNotTheJob() throws Exception {
    PharosPipelineResult result = run();
    Thread.currentThread().interrupt();
    PharosException e = assertThrows(PharosException.class, result::waitUntilFinish);
    assertEquals("interrupted while waiting for job job-1", e.getMessage());
    assertTrue("the interrupt is forgotten", Thread.interrupted());
    assertEquals(State.RUNNING, result.getState());
    result.cancel();
    assertEquals(State.CANCELLED, result.waitUntilFinish());
  }

  @Test
  public void anInterruptedTestCancelsItsJob() throws Exception {
    PipelineOptions o = options("--runner=TestPharosRunner", "--pharosEndpoint=" + server.endpoint());
    Thread test = Thread.currentThread();
    Thread interrupter =
        new Thread(
            () -> {
              server.awaitFollower();
              test.interrupt();
            });
    interrupter.start();
    assertThrows(PharosException.class, () -> Pipeline.create(o).run());
    assertTrue("the interrupt is forgotten", Thread.interrupted());
    interrupter.join();
    assertEquals(JobState.Enum.CANCELLED, server.state());
  }

  @Test
  public void refusalsAreOneLine() {
    server.refusal = Status.INVALID_ARGUMENT.withDescription("transform Numbers: no such URN");
    PharosException e = assertThrows(PharosException.class, this::run);
    assertEquals("the runner rejects it: transform Numbers: no such URN", e.getMessage());
    server.close();
    e = assertThrows(PharosException.class, () -> run("--jobServerTimeout=1"));
    assertEquals(
        "no job service answers at " + server.endpoint() + " within 1 s (--jobServerTimeout): is `pharos serve` running there?",
        e.getMessage());
  }

  @Test
  public void aServerThatIsJustBeingStartedIsWaitedFor() throws Exception {
    ServerSocket before = new ServerSocket(0);
    CompletableFuture<FakeServer> late =
        CompletableFuture.supplyAsync(
            () -> {
              try (before) {
                before.accept().close(); // somebody has tried, in vain
              } catch (IOException e) {
                throw new UncheckedIOException(e);
              }
              FakeServer started = new FakeServer(before.getLocalPort());
              started.end(JobState.Enum.DONE);
              return started;
            });
    PipelineOptions o = options("--runner=PharosRunner", "--pharosEndpoint=localhost:" + before.getLocalPort());
    Pipeline p = Pipeline.create(o);
    p.apply(Create.of(1));
    assertEquals(State.DONE, p.run().waitUntilFinish());
    late.get().close();
  }

  @Test
  public void theOptionsForAServerAreItsFlags() throws Exception {
    File said = temp.newFile("said");
    File script = temp.newFile("pharos");
    Files.writeString(script.toPath(), "#!/bin/sh\necho \"$@\" >'" + said + "'\nexit 3\n");
    assertTrue(script.setExecutable(true));
    String[] flags = {
      "--runner=PharosRunner", "--pharosBinary=" + script, "--pharosMemory=64MiB", "--pharosDisk=1GiB", "--pharosDataDir=a b"
    };
    PipelineOptions o = options(flags);
    assertThrows(PharosException.class, () -> Pipeline.create(o).run());
    String got = Files.readString(said.toPath());
    assertTrue(got, got.contains(" --memory=64MiB --disk=1GiB --data=a b"));
  }

  @Test
  public void anEndpointIsHostAndPort() {
    PharosException e = assertThrows(PharosException.class, () -> Pipeline.create(options("--runner=PharosRunner", "--pharosEndpoint=localhost")).run());
    assertEquals("the endpoint \"localhost\" is not HOST:PORT", e.getMessage());
  }

  @Test
  public void theFlagsOfPortableRunnersDo() {
    Pipeline p = Pipeline.create(options("--runner=PharosRunner", "--jobEndpoint=" + server.endpoint()));
    server.end(JobState.Enum.DONE);
    assertEquals(State.DONE, p.run().waitUntilFinish());
  }

  @Test
  public void aBinaryThatIsNoneIsSaid() {
    PipelineOptions o = options("--runner=PharosRunner", "--pharosBinary=" + temp.getRoot());
    PharosException e = assertThrows(PharosException.class, () -> Pipeline.create(o).run());
    assertEquals("--pharosBinary: " + temp.getRoot() + " is not a program", e.getMessage());
  }

  @Test
  public void aServerThatDoesNotStartIsQuoted() throws Exception {
    File script = temp.newFile("pharos");
    Files.writeString(script.toPath(), "#!/bin/sh\necho 'pharos: no room' >&2\nexit 3\n");
    assertTrue(script.setExecutable(true));
    PipelineOptions o = options("--runner=PharosRunner", "--pharosBinary=" + script);
    PharosException e = assertThrows(PharosException.class, () -> Pipeline.create(o).run());
    assertEquals("pharos serve ended with exit code 3: pharos: no room", e.getMessage());
    Files.writeString(script.toPath(), "#!/bin/sh\n");
    e = assertThrows(PharosException.class, () -> Pipeline.create(o).run());
    assertEquals("pharos serve ended with exit code 0: it says nothing (is " + script + " pharos?)", e.getMessage());
  }

  @Test
  public void metricsAreAttemptedAndCommittedAndNamedByStep() throws Exception {
    PharosPipelineResult result = run();
    Map<String, PTransform> transforms = server.prepared.take().getPipeline().getComponents().getTransformsMap();
    String id = transforms.keySet().stream().filter(t -> transforms.get(t).getSubtransformsCount() == 0).findFirst().get();
    server.metrics = MetricResults.newBuilder().addAttempted(counter(id, 5)).addCommitted(counter(id, 3)).build();
    server.end(JobState.Enum.DONE);
    result.waitUntilFinish();
    MetricsFilter step = MetricsFilter.builder().addStep("Numbers").build();
    MetricResult<Long> c = result.metrics().queryMetrics(step).getCounters().iterator().next();
    assertEquals(transforms.get(id).getUniqueName(), c.getKey().stepName());
    assertEquals(5L, (long) c.getAttempted());
    assertEquals(3L, (long) c.getCommitted());
  }

  private static MonitoringInfo counter(String transform, long value) {
    return MonitoringInfo.newBuilder()
        .setUrn("beam:metric:user:sum_int64:v1")
        .setType("beam:metrics:sum_int64:v1")
        .setPayload(MonitoringInfoEncodings.encodeInt64Counter(value))
        .putLabels("PTRANSFORM", transform)
        .putLabels("NAMESPACE", "n")
        .putLabels("NAME", "count")
        .build();
  }

  @Test
  public void filesAreStagedInPieces() throws Exception {
    File f = temp.newFile("big.bin");
    byte[] content = new byte[3 << 20];
    content[content.length - 1] = 7;
    Files.write(f.toPath(), content);
    ask(f);
    PharosPipelineResult result = run("--filesToStage=" + f);
    server.end(JobState.Enum.DONE);
    result.waitUntilFinish();
    ByteString got = ByteString.EMPTY;
    server.answers.take(); // the token
    for (ArtifactResponseWrapper a; !(a = (ArtifactResponseWrapper) server.answers.take()).getIsLast(); ) {
      got = got.concat(a.getGetArtifactResponse().getData());
    }
    assertEquals(ByteString.copyFrom(content), got);
  }

  /** The server will ask for a file. */
  private void ask(File f) throws Exception {
    // What the pipeline will say of it.
    ArtifactInformation a = Environments.getArtifacts(List.of(f.getPath())).get(0);
    server.questions.add(
        ArtifactRequestWrapper.newBuilder().setGetArtifact(GetArtifactRequest.newBuilder().setArtifact(a)).build());
  }

  @Test
  public void aServerGetsNoOtherFile() throws Exception {
    File secret = temp.newFile("secret");
    ask(secret);
    PharosException e = assertThrows(PharosException.class, this::run);
    assertTrue(e.getMessage(), e.getMessage().contains("not part of the pipeline"));
  }

  @Test
  public void codeRunsHereUnlessToldOtherwise() throws Exception {
    PharosPipelineResult result = run();
    Environment e = submittedEnvironment();
    assertEquals("beam:env:external:v1", e.getUrn());
    String address = ExternalPayload.parseFrom(e.getPayload()).getEndpoint().getUrl();
    assertFalse("localhost may be two addresses", address.startsWith("localhost"));
    assertEquals("the class path is not staged", 0, e.getDependenciesCount());
    result.cancel();
  }

  @Test
  public void workersAsProcessesHaveOurClassPath() throws Exception {
    PharosPipelineResult result = run("--defaultEnvironmentType=PROCESS");
    Environment e = submittedEnvironment();
    assertEquals("beam:env:process:v1", e.getUrn());
    String command = ProcessPayload.parseFrom(e.getPayload()).getCommand();
    assertTrue(command, command.contains("pharosbeam") || command.contains("beam-sdks-java-harness"));
    assertTrue(command, command.endsWith(" org.apache.beam.fn.harness.FnHarness"));
    assertFalse(command, command.contains("\n"));
    result.cancel();
  }

  @Test
  public void theTestRunnerWaitsAndInsistsOnDone() {
    PipelineOptions o = options("--runner=TestPharosRunner", "--pharosEndpoint=" + server.endpoint());
    server.end(JobState.Enum.CANCELLED);
    AssertionError e = assertThrows(AssertionError.class, () -> Pipeline.create(o).run());
    assertEquals("job job-1 ended in state CANCELLED", e.getMessage());
  }

  @Test
  public void environmentsOfThePortableOptionsAreKept() throws Exception {
    PharosPipelineResult result =
        run("--defaultEnvironmentType=EXTERNAL", "--defaultEnvironmentConfig=pool:5000", "--filesToStage=" + temp.newFile("a.jar"));
    Environment e = submittedEnvironment();
    assertEquals(1, e.getDependenciesCount());
    assertTrue(ArtifactFilePayload.parseFrom(e.getDependencies(0).getTypePayload()).getPath().endsWith("a.jar"));
    assertTrue(e.getPayload().toStringUtf8().contains("pool:5000"));
    result.cancel();
  }

  @Test
  public void optionsKnowTheRunner() {
    assertEquals(PharosRunner.class, options("--runner=pharos").getRunner());
    assertEquals(TestPharosRunner.class, options("--runner=TestPharosRunner").getRunner());
  }
}
