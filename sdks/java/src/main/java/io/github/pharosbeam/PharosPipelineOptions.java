package io.github.pharosbeam;

import org.apache.beam.sdk.options.Default;
import org.apache.beam.sdk.options.Description;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PortablePipelineOptions;

/**
 * Options of {@link PharosRunner}.
 *
 * <p>{@link PortablePipelineOptions} apply as well: the environment of the pipeline's code ({@code defaultEnvironmentType},
 * LOOPBACK unless given), {@code filesToStage}, and {@code jobEndpoint}, which stands in for {@code pharosEndpoint}. They are
 * not a supertype because they insist on a {@code jobEndpoint}.
 */
public interface PharosPipelineOptions extends PipelineOptions {
  @Description("HOST:PORT of a Pharos server that runs already. Without it the pipeline gets a server of its own.")
  String getPharosEndpoint();

  void setPharosEndpoint(String endpoint);

  @Description(
      "Path of the pharos program, for a server of the pipeline's own. By default $PHAROS_BINARY, the one in a"
          + " jar of this platform, or pharos on the PATH.")
  String getPharosBinary();

  void setPharosBinary(String path);

  @Description("Memory that the pipeline's own server may take, like 512MiB or 4GiB; what does not fit goes to disk.")
  String getPharosMemory();

  void setPharosMemory(String size);

  @Description(
      "Folder in which the pipeline's own server keeps its jobs, to be looked at later. By default it keeps nothing.")
  String getPharosDataDir();

  void setPharosDataDir(String path);

  @Description("Element data that the pipeline's own server keeps on disk at most, like 10GiB. By default there is no limit.")
  String getPharosDisk();

  void setPharosDisk(String size);

  // PortablePipelineOptions has it, too, and the same default.
  @Description(
      "Seconds that a call to the server may take, and that a server which starts or restarts may be away, unless it is the"
          + " pipeline's own.")
  @Default.Integer(60)
  int getJobServerTimeout();

  void setJobServerTimeout(int seconds);

  // The names of the next two are those that the server looks for among a job's options.

  @Description("Workers for each environment of the job. By default what the server was started with.")
  Integer getWorkersPerEnvironment();

  void setWorkersPerEnvironment(Integer workers);

  @Description("How often a failing bundle is tried before the job fails. By default what the server was started with.")
  Integer getMaxAttempts();

  void setMaxAttempts(Integer attempts);
}
