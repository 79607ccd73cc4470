package io.github.pharosbeam;

import static org.apache.beam.sdk.values.TypeDescriptors.strings;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;
import static org.junit.Assume.assumeNotNull;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobState;
import org.apache.beam.sdk.Pipeline.PipelineExecutionException;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.io.GenerateSequence;
import org.apache.beam.sdk.metrics.Counter;
import org.apache.beam.sdk.metrics.MetricResult;
import org.apache.beam.sdk.metrics.Metrics;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.options.PortablePipelineOptions;
import org.apache.beam.sdk.testing.PAssert;
import org.apache.beam.sdk.testing.TestPipeline;
import org.apache.beam.sdk.testing.TestPipelineOptions;
import org.apache.beam.sdk.transforms.Count;
import org.apache.beam.sdk.transforms.Create;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.MapElements;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.PCollection;
import org.joda.time.Duration;
import org.junit.Before;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.Timeout;

/** Pipelines on a real server that the runner starts: PHAROS_BINARY names it, without that the tests are skipped. */
public class LocalServerTest {
  @Rule public final Timeout limit = Timeout.seconds(300);
  @Rule public final transient TestPipeline p = TestPipeline.fromOptions(options()).enableAbandonedNodeEnforcement(false);

  private static PipelineOptions options() {
    return PipelineOptionsFactory.fromArgs("--runner=TestPharosRunner", "--pharosMemory=64MiB").create();
  }

  @Before
  public void needsPharos() {
    assumeNotNull(System.getenv("PHAROS_BINARY"));
  }

  /** Counts its elements and fails on one that is asked for. */
  private static class Look extends DoFn<String, String> {
    private final Counter seen = Metrics.counter("words", "seen");

    @ProcessElement
    public void look(@Element String word, OutputReceiver<String> out) {
      if (word.equals("bad")) {
        throw new IllegalStateException("a bad word");
      }
      seen.inc();
      out.output(word);
    }
  }

  private PCollection<KV<String, Long>> counts(String... words) {
    return p.apply(Create.of(List.of(words))).apply("Look", ParDo.of(new Look())).apply(Count.perElement());
  }

  @Test
  public void wordsAreCounted() {
    PAssert.thatMap(counts("a", "b", "a")).isEqualTo(Map.of("a", 2L, "b", 1L));
    PipelineResult result = p.run();
    MetricResult<Long> seen = null;
    for (MetricResult<Long> c : result.metrics().allMetrics().getCounters()) {
      seen = c.getName().getName().equals("seen") ? c : seen;
    }
    assertEquals(3L, (long) seen.getCommitted());
    assertTrue(seen.getAttempted() >= 3);
  }

  @Test
  public void wordsAreCountedByAProcess() {
    p.getOptions().as(PortablePipelineOptions.class).setDefaultEnvironmentType("PROCESS");
    PAssert.thatMap(counts("a", "b", "a")).isEqualTo(Map.of("a", 2L, "b", 1L));
    assertEquals(PipelineResult.State.DONE, p.run().getState());
  }

  @Test
  public void aStreamIsDrained() {
    p.getOptions().as(TestPipelineOptions.class).setBlockOnRun(false);
    p.apply(GenerateSequence.from(0).withRate(10, Duration.millis(10))).apply(MapElements.into(strings()).via(n -> "n" + n));
    PharosPipelineResult job = (PharosPipelineResult) p.run();
    job.drain();
    assertEquals(PipelineResult.State.DONE, job.waitUntilFinish());
    assertEquals(JobState.Enum.DRAINED, job.getJobState());
  }

  /** Says that it runs. */
  private static class Signal extends DoFn<Long, Long> {
    static final CountDownLatch RUNS = new CountDownLatch(1);

    @ProcessElement
    public void signal(@Element Long n, OutputReceiver<Long> out) {
      RUNS.countDown();
      out.output(n);
    }
  }

  @Test
  public void aServerThatDiesIsAnErrorAndLeavesNothing() throws Exception {
    Set<Thread> before = Thread.getAllStackTraces().keySet();
    p.getOptions().as(TestPipelineOptions.class).setBlockOnRun(false);
    p.apply(GenerateSequence.from(0).withRate(10, Duration.millis(10))).apply(ParDo.of(new Signal()));
    PharosPipelineResult job = (PharosPipelineResult) p.run();
    Signal.RUNS.await();
    List<ProcessHandle> servers = ProcessHandle.current().children().collect(Collectors.toList());
    assertEquals(1, servers.size());
    servers.get(0).destroyForcibly();
    PharosException e = assertThrows(PharosException.class, job::waitUntilFinish);
    assertTrue(e.getMessage(), e.getMessage().matches("lost job .*: the server at 127.0.0.1:\\d+ does not answer"));
    for (Thread t : Thread.getAllStackTraces().keySet()) {
      if (!t.isDaemon() && !before.contains(t)) {
        t.join(); // a thread that stays ends the test by its time limit
      }
    }
    assertEquals(0, ProcessHandle.current().children().count());
  }

  @Test
  public void anExceptionComesBackWithItsText() {
    counts("a", "bad");
    PipelineExecutionException e = assertThrows(PipelineExecutionException.class, p::run);
    String text = e.getCause().getMessage();
    assertTrue(text, text.contains("java.lang.IllegalStateException: a bad word"));
    assertTrue(text, text.contains("LocalServerTest$Look"));
    assertTrue(text, text.contains("Look"));
  }
}
