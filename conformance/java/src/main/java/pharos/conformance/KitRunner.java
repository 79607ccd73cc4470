package pharos.conformance;

import io.github.pharosbeam.PharosPipelineResult;
import io.github.pharosbeam.PharosRunner;
import java.util.ArrayList;
import java.util.List;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.PipelineRunner;
import org.apache.beam.sdk.options.PipelineOptions;

/**
 * Submits through our PharosRunner and blocks until the job has ended, like TestPharosRunner, but keeps the live jobs, so that
 * those of a test that takes too long can be cancelled.
 */
public class KitRunner extends PipelineRunner<PipelineResult> {
  /** Jobs started by the current test, in order. Guarded by itself. */
  static final List<PipelineResult> JOBS = new ArrayList<>();

  static volatile String phase = "";

  private final PharosRunner runner;

  private KitRunner(PipelineOptions options) {
    runner = PharosRunner.fromOptions(options);
  }

  public static KitRunner fromOptions(PipelineOptions options) {
    return new KitRunner(options);
  }

  @Override
  public PipelineResult run(Pipeline pipeline) {
    phase = "submitting";
    PharosPipelineResult result = runner.run(pipeline);
    synchronized (JOBS) {
      JOBS.add(result);
    }
    phase = "job running";
    PipelineResult.State state = result.waitUntilFinish();
    phase = "after job";
    if (state != PipelineResult.State.DONE) {
      throw new AssertionError("Pipeline did not succeed. Job ended in state " + state);
    }
    return result;
  }
}
