package pharos.conformance;

import java.util.ArrayList;
import java.util.List;
import org.apache.beam.runners.portability.PortableRunner;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.PipelineRunner;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PortablePipelineOptions;

/**
 * Submits through Beam's own PortableRunner and blocks until the job is terminal, like Beam's
 * TestUniversalRunner; two differences: the job state is polled every few milliseconds (Beam's
 * client sleeps 3 s between polls), and the live job handles are kept so that a timed-out test can
 * be cancelled.
 */
public class KitRunner extends PipelineRunner<PipelineResult> {
  /** Jobs started by the current test, in order. Guarded by itself. */
  static final List<PipelineResult> JOBS = new ArrayList<>();

  static volatile String phase = "";

  private final PipelineOptions options;

  private KitRunner(PipelineOptions options) {
    this.options = options;
  }

  public static KitRunner fromOptions(PipelineOptions options) {
    return new KitRunner(options);
  }

  @Override
  public PipelineResult run(Pipeline pipeline) {
    PortablePipelineOptions o = options.as(PortablePipelineOptions.class);
    o.setRunner(PortableRunner.class);
    phase = "submitting";
    PipelineResult result = PortableRunner.fromOptions(o).run(pipeline);
    synchronized (JOBS) {
      JOBS.add(result);
    }
    phase = "job running";
    long nap = 10;
    while (!result.getState().isTerminal()) {
      try {
        Thread.sleep(nap);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new RuntimeException(e);
      }
      nap = Math.min(100, nap + nap / 2);
    }
    phase = "fetching result";
    // Returns at once for a terminal job: throws the job's error message, fetches metrics, closes.
    PipelineResult.State state = result.waitUntilFinish();
    phase = "after job";
    if (state != PipelineResult.State.DONE) {
      throw new AssertionError("Pipeline did not succeed. Job ended in state " + state);
    }
    return result;
  }
}
