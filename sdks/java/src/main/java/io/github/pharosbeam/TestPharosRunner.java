package io.github.pharosbeam;

import static org.hamcrest.MatcherAssert.assertThat;

import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.PipelineRunner;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.testing.TestPipelineOptions;
import org.joda.time.Duration;

/**
 * {@link PharosRunner} for tests with {@code TestPipeline}: {@link #run} waits for the job, fails unless it is DONE, and
 * honours {@link TestPipelineOptions}: both matchers, blockOnRun, and testTimeoutSeconds.
 */
public final class TestPharosRunner extends PipelineRunner<PharosPipelineResult> {
  private final PharosRunner runner;
  private final TestPipelineOptions options;

  private TestPharosRunner(PipelineOptions options) {
    this.options = options.as(TestPipelineOptions.class);
    runner = PharosRunner.fromOptions(options);
  }

  /** Makes a runner; see {@link PharosRunner#fromOptions}. */
  public static TestPharosRunner fromOptions(PipelineOptions options) {
    return new TestPharosRunner(options);
  }

  @Override
  public PharosPipelineResult run(Pipeline pipeline) {
    PharosPipelineResult result = runner.run(pipeline);
    assertThat(result, options.getOnCreateMatcher());
    if (options.isBlockOnRun()) {
      await(result);
      assertThat(result, options.getOnSuccessMatcher());
    }
    return result;
  }

  private void await(PharosPipelineResult result) {
    Long limitS = options.getTestTimeoutSeconds();
    PipelineResult.State state;
    try {
      state = result.waitUntilFinish(limitS == null ? Duration.ZERO : Duration.standardSeconds(limitS));
    } catch (PharosException e) {
      if (Thread.interrupted()) { // as JUnit's time limits do
        result.cancel();
        Thread.currentThread().interrupt();
      }
      throw e;
    }
    if (state == null) {
      result.cancel();
      throw new AssertionError("job " + result.getJobId() + " runs for more than " + limitS + " s and was cancelled");
    }
    if (state != PipelineResult.State.DONE) {
      throw new AssertionError("job " + result.getJobId() + " ended in state " + state);
    }
  }

  @Override
  public String toString() {
    return "TestPharosRunner";
  }
}
