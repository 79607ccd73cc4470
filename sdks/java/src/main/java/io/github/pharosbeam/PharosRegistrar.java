package io.github.pharosbeam;

import java.util.List;
import org.apache.beam.sdk.PipelineRunner;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsRegistrar;
import org.apache.beam.sdk.runners.PipelineRunnerRegistrar;

/** Makes {@code --runner=PharosRunner} and its options known to Beam; META-INF/services name the two classes. */
public final class PharosRegistrar {
  /** The runners by name. */
  public static final class Runners implements PipelineRunnerRegistrar {
    @Override
    public Iterable<Class<? extends PipelineRunner<?>>> getPipelineRunners() {
      return List.of(PharosRunner.class, TestPharosRunner.class);
    }
  }

  /** The options on command lines. */
  public static final class Options implements PipelineOptionsRegistrar {
    @Override
    public Iterable<Class<? extends PipelineOptions>> getPipelineOptions() {
      return List.of(PharosPipelineOptions.class);
    }
  }

  private PharosRegistrar() {}
}
