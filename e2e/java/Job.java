import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.metrics.Counter;
import org.apache.beam.sdk.metrics.MetricNameFilter;
import org.apache.beam.sdk.metrics.MetricResult;
import org.apache.beam.sdk.metrics.Metrics;
import org.apache.beam.sdk.metrics.MetricsFilter;
import org.apache.beam.sdk.options.Default;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.io.GenerateSequence;
import org.apache.beam.sdk.transforms.GroupByKey;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.Reshuffle;
import org.apache.beam.sdk.values.KV;

/** The job of the tests in Java: see e2e/python/job.py. */
public class Job {
  /** What the test says. */
  public interface Options extends PipelineOptions {
    @Default.Integer(1000)
    int getNumbers();

    void setNumbers(int numbers);

    @Default.Integer(10)
    int getPauseMillis();

    void setPauseMillis(int millis);
  }

  /** Passes numbers on with a key, after a pause. */
  static class Slow extends DoFn<Long, KV<Long, Long>> {
    private final int pauseMillis;
    private final Counter count = Metrics.counter("e2e", "count");
    private final Counter sum = Metrics.counter("e2e", "sum");

    Slow(int pauseMillis) {
      this.pauseMillis = pauseMillis;
    }

    @ProcessElement
    public void process(@Element Long n, OutputReceiver<KV<Long, Long>> out) throws InterruptedException {
      Thread.sleep(pauseMillis);
      count.inc();
      sum.inc(n);
      out.output(KV.of(n % 10, n));
    }
  }

  /** Counts what the grouping has made of them. */
  static class Grouped extends DoFn<KV<Long, Iterable<Long>>, Void> {
    private final Counter grouped = Metrics.counter("e2e", "grouped");

    @ProcessElement
    public void process(@Element KV<Long, Iterable<Long>> group) {
      Set<Long> seen = new HashSet<>();
      for (Long n : group.getValue()) {
        if (!seen.add(n)) {
          throw new IllegalStateException("a number that came twice: " + n);
        }
      }
      grouped.inc(seen.size());
    }
  }

  public static void main(String[] args) {
    Options options = PipelineOptionsFactory.fromArgs(args).withValidation().as(Options.class);
    Pipeline p = Pipeline.create(options);
    p.apply(GenerateSequence.from(0).to(options.getNumbers()))
        .apply(Reshuffle.viaRandomKey())
        .apply("Slow", ParDo.of(new Slow(options.getPauseMillis())))
        .apply(GroupByKey.create())
        .apply(ParDo.of(new Grouped()));
    PipelineResult result = p.run();
    result.waitUntilFinish();
    StringBuilder line = new StringBuilder();
    for (String name : Arrays.asList("count", "sum", "grouped")) {
      long total = 0;
      MetricsFilter filter = MetricsFilter.builder().addNameFilter(MetricNameFilter.named("e2e", name)).build();
      for (MetricResult<Long> c : result.metrics().queryMetrics(filter).getCounters()) {
        total += c.getCommitted();
      }
      line.append(line.length() == 0 ? "" : " ").append(name).append('=').append(total);
    }
    System.out.println(line);
  }
}
