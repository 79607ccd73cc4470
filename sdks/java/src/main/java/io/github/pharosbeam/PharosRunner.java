package io.github.pharosbeam;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.net.InetAddress;
import java.nio.file.Path;
import java.util.List;
import org.apache.beam.fn.harness.ExternalWorkerService;
import org.apache.beam.model.jobmanagement.v1.JobApi.PrepareJobRequest;
import org.apache.beam.model.jobmanagement.v1.JobApi.PrepareJobResponse;
import org.apache.beam.model.pipeline.v1.RunnerApi;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineRunner;
import org.apache.beam.sdk.fn.server.GrpcFnServer;
import org.apache.beam.sdk.options.ExperimentalOptions;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PortablePipelineOptions;
import org.apache.beam.sdk.util.construction.DefaultArtifactResolver;
import org.apache.beam.sdk.util.construction.Environments;
import org.apache.beam.sdk.util.construction.PipelineOptionsTranslation;
import org.apache.beam.sdk.util.construction.PipelineTranslation;
import org.apache.beam.sdk.util.construction.SdkComponents;
import org.apache.beam.sdk.util.construction.resources.PipelineResources;
import org.apache.beam.vendor.guava.v32_1_2_jre.com.google.common.net.HostAndPort;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Runs a pipeline on Pharos.
 *
 * <p>{@link #run} returns as soon as the job has started. When the job needs this JVM, because its code runs here or its server
 * belongs to it, the JVM stays until the job has ended, and a JVM that is told to end before cancels the job.
 */
public final class PharosRunner extends PipelineRunner<PharosPipelineResult> {
  private static final Logger LOG = LoggerFactory.getLogger(PharosRunner.class);

  private final PipelineOptions options;

  private PharosRunner(PipelineOptions options) {
    this.options = options;
  }

  /** Makes a runner. Called by Beam when a pipeline is created, before there is anything in it. */
  public static PharosRunner fromOptions(PipelineOptions options) {
    // Sources and views look at this while the pipeline is built: they expand to what portable runners understand.
    ExperimentalOptions.addExperiment(options.as(ExperimentalOptions.class), "beam_fn_api");
    PortablePipelineOptions portable = options.as(PortablePipelineOptions.class);
    if (portable.getDefaultEnvironmentType() == null) {
      portable.setDefaultEnvironmentType(Environments.ENVIRONMENT_LOOPBACK);
    }
    return new PharosRunner(options);
  }

  @Override
  public PharosPipelineResult run(Pipeline pipeline) {
    Resources resources = new Resources();
    try {
      JobService jobs = resources.add(new JobService(endpoint(resources), portable().getJobServerTimeout()));
      jobs.greet();
      boolean loopback = prepareEnvironment(resources);
      RunnerApi.Pipeline proto = translate(pipeline);
      PrepareJobResponse prepared =
          jobs.prepare(
              PrepareJobRequest.newBuilder()
                  .setJobName(options.getJobName())
                  .setPipeline(proto)
                  .setPipelineOptions(PipelineOptionsTranslation.toProto(options))
                  .build());
      jobs.stage(prepared, proto);
      String id = jobs.run(prepared.getPreparationId());
      LOG.info("job {} runs on Pharos at {}", id, jobs.endpoint());
      boolean ownServer = givenEndpoint() == null; // which does not come back
      int patienceS = ownServer ? 0 : portable().getJobServerTimeout();
      return PharosPipelineResult.follow(id, jobs, new JobMetrics(proto), resources, patienceS, loopback || ownServer);
    } catch (Throwable t) {
      resources.close();
      throw t;
    }
  }

  private PortablePipelineOptions portable() {
    return options.as(PortablePipelineOptions.class);
  }

  private String givenEndpoint() {
    String own = options.as(PharosPipelineOptions.class).getPharosEndpoint();
    return own != null ? own : portable().getJobEndpoint();
  }

  private String endpoint(Resources resources) {
    String given = givenEndpoint();
    return given != null ? given : resources.add(LocalServer.start(options.as(PharosPipelineOptions.class))).endpoint();
  }

  /** Sees to it that the environment which the options name can run; says whether it is in this JVM. */
  private boolean prepareEnvironment(Resources resources) {
    PortablePipelineOptions o = portable();
    switch (o.getDefaultEnvironmentType()) {
      case Environments.ENVIRONMENT_LOOPBACK:
        o.setDefaultEnvironmentConfig(address(resources.add(startWorkers())));
        stageOnlyWhatIsNamed(o);
        return true;
      case Environments.ENVIRONMENT_PROCESS:
        if (o.getDefaultEnvironmentConfig() == null && o.getEnvironmentOptions() == null) {
          o.setDefaultEnvironmentConfig(new ObjectMapper().createObjectNode().put("command", harnessCommand()).toString());
          stageOnlyWhatIsNamed(o);
        }
        break;
      default:
    }
    if (o.getFilesToStage() == null) {
      o.setFilesToStage(PipelineResources.detectClassPathResourcesToStage(PharosRunner.class.getClassLoader(), options));
    }
    return false;
  }

  /** The class path is at hand where the code runs: nobody needs a copy. */
  private static void stageOnlyWhatIsNamed(PortablePipelineOptions o) {
    if (o.getFilesToStage() == null) {
      o.setFilesToStage(List.of());
    }
  }

  private GrpcFnServer<ExternalWorkerService> startWorkers() {
    try {
      return new ExternalWorkerService(options).start();
    } catch (Exception e) {
      throw new PharosException("cannot start the worker service in this JVM: " + e.getMessage(), e);
    }
  }

  /** The one address of workers that call it localhost, which may be two: at the other there may be another program. */
  private static String address(GrpcFnServer<ExternalWorkerService> workers) {
    int port = HostAndPort.fromString(workers.getApiServiceDescriptor().getUrl()).getPort();
    return HostAndPort.fromParts(InetAddress.getLoopbackAddress().getHostAddress(), port).toString();
  }

  /**
   * A command that starts a worker as a process with this JVM's class path. The harness finds the runner, and its options, in
   * environment variables that Pharos sets.
   */
  private static String harnessCommand() {
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    String classPath = System.getProperty("java.class.path");
    StringBuilder command = new StringBuilder(quote(java));
    for (String entry : classPath.split(File.pathSeparator)) {
      if (new File(entry).getName().matches("jamm-.*\\.jar")) {
        command.append(' ').append(quote("-javaagent:" + entry)); // the harness measures its cache with it
      }
    }
    return command.append(" -cp ").append(quote(classPath)).append(" org.apache.beam.fn.harness.FnHarness").toString();
  }

  private static String quote(String word) {
    return "'" + word.replace("'", "'\\''") + "'";
  }

  private RunnerApi.Pipeline translate(Pipeline pipeline) {
    return DefaultArtifactResolver.INSTANCE.resolveArtifacts(
        PipelineTranslation.toProto(pipeline, SdkComponents.create(options)));
  }

  @Override
  public String toString() {
    return "PharosRunner";
  }
}
