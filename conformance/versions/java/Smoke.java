import static org.apache.beam.sdk.values.TypeDescriptors.integers;
import static org.apache.beam.sdk.values.TypeDescriptors.longs;
import static org.apache.beam.sdk.values.TypeDescriptors.strings;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.coders.StringUtf8Coder;
import org.apache.beam.sdk.coders.VarIntCoder;
import org.apache.beam.sdk.coders.VarLongCoder;
import org.apache.beam.sdk.coders.KvCoder;
import org.apache.beam.sdk.io.GenerateSequence;
import org.apache.beam.sdk.io.range.OffsetRange;
import org.apache.beam.sdk.metrics.Counter;
import org.apache.beam.sdk.metrics.Distribution;
import org.apache.beam.sdk.metrics.MetricNameFilter;
import org.apache.beam.sdk.metrics.MetricQueryResults;
import org.apache.beam.sdk.metrics.MetricResult;
import org.apache.beam.sdk.metrics.Metrics;
import org.apache.beam.sdk.metrics.MetricsFilter;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.state.BagState;
import org.apache.beam.sdk.state.StateSpec;
import org.apache.beam.sdk.state.StateSpecs;
import org.apache.beam.sdk.state.TimeDomain;
import org.apache.beam.sdk.state.Timer;
import org.apache.beam.sdk.state.TimerSpec;
import org.apache.beam.sdk.state.TimerSpecs;
import org.apache.beam.sdk.testing.PAssert;
import org.apache.beam.sdk.testing.TestStream;
import org.apache.beam.sdk.transforms.Combine;
import org.apache.beam.sdk.transforms.Create;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.Flatten;
import org.apache.beam.sdk.transforms.GroupByKey;
import org.apache.beam.sdk.transforms.MapElements;
import org.apache.beam.sdk.transforms.Mean;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.Reshuffle;
import org.apache.beam.sdk.transforms.Sum;
import org.apache.beam.sdk.transforms.View;
import org.apache.beam.sdk.transforms.splittabledofn.RestrictionTracker;
import org.apache.beam.sdk.transforms.windowing.AfterPane;
import org.apache.beam.sdk.transforms.windowing.AfterWatermark;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.transforms.windowing.FixedWindows;
import org.apache.beam.sdk.transforms.windowing.IntervalWindow;
import org.apache.beam.sdk.transforms.windowing.Sessions;
import org.apache.beam.sdk.transforms.windowing.SlidingWindows;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.transforms.windowing.WindowFn;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.PCollection;
import org.apache.beam.sdk.values.PCollectionList;
import org.apache.beam.sdk.values.PCollectionView;
import org.apache.beam.sdk.values.TimestampedValue;
import org.joda.time.Duration;
import org.joda.time.Instant;

/**
 * One small pipeline for each thing that a version of Beam's Java SDK and Pharos have to agree about. Prints a line for each
 * case: its name, a tab, and `ok` or the error. It is compiled against each version.
 */
public class Smoke {
  private static final Duration TEN = Duration.standardSeconds(10);

  private static Pipeline pipeline(String... more) {
    List<String> args = new ArrayList<>(List.of("--runner=PharosRunner", "--maxAttempts=1"));
    args.addAll(Arrays.asList(more));
    return Pipeline.create(PipelineOptionsFactory.fromArgs(args.toArray(new String[0])).create());
  }

  private static PipelineResult finish(Pipeline p) {
    PipelineResult result = p.run();
    PipelineResult.State state = result.waitUntilFinish();
    check(state == PipelineResult.State.DONE, "the job is " + state);
    return result;
  }

  private static void check(boolean right, String otherwise) {
    if (!right) {
      throw new AssertionError(otherwise);
    }
  }

  private static PCollection<KV<String, Integer>> pairs(Pipeline p) {
    return p.apply(Create.of(KV.of("a", 1), KV.of("b", 2), KV.of("a", 3)));
  }

  private static TimestampedValue<KV<String, Integer>> at(int seconds, String key, int value) {
    return TimestampedValue.of(KV.of(key, value), new Instant(1000L * seconds));
  }

  static void groupByKey() {
    Pipeline p = pipeline();
    PCollection<String> grouped = pairs(p).apply(GroupByKey.create()).apply(ParDo.of(new Sorted()));
    PAssert.that(grouped).containsInAnyOrder("a [1, 3]", "b [2]");
    finish(p);
  }

  private static class Sorted extends DoFn<KV<String, Iterable<Integer>>, String> {
    @ProcessElement
    public void process(@Element KV<String, Iterable<Integer>> e, OutputReceiver<String> out) {
      List<Integer> values = new ArrayList<>();
      e.getValue().forEach(values::add);
      values.sort(null);
      out.output(e.getKey() + " " + values);
    }
  }

  static void combine() {
    Pipeline p = pipeline();
    PAssert.that(pairs(p).apply(Mean.perKey())).containsInAnyOrder(KV.of("a", 2.0), KV.of("b", 2.0));
    PCollection<Integer> total = p.apply("Numbers", Create.of(1, 2, 3, 4)).apply(Combine.globally(Sum.ofIntegers()));
    PAssert.thatSingleton(total).isEqualTo(10);
    finish(p);
  }

  static void sideInputs() {
    Pipeline p = pipeline();
    PCollectionView<Map<String, Iterable<Integer>>> map = pairs(p).apply(View.asMultimap());
    PCollectionView<List<Integer>> list = p.apply("List", Create.of(5, 6)).apply(View.asList());
    PCollection<String> got = p.apply("Main", Create.of("a", "b")).apply(ParDo.of(new Look(map, list)).withSideInputs(map, list));
    PAssert.that(got).containsInAnyOrder("a 4 2", "b 2 2");
    finish(p);
  }

  private static class Look extends DoFn<String, String> {
    private final PCollectionView<Map<String, Iterable<Integer>>> map;
    private final PCollectionView<List<Integer>> list;

    Look(PCollectionView<Map<String, Iterable<Integer>>> map, PCollectionView<List<Integer>> list) {
      this.map = map;
      this.list = list;
    }

    @ProcessElement
    public void process(ProcessContext c) {
      int sum = 0;
      for (int v : c.sideInput(map).get(c.element())) {
        sum += v;
      }
      c.output(c.element() + " " + sum + " " + c.sideInput(list).size());
    }
  }

  static void stateAndTimers() {
    Pipeline p = pipeline();
    PCollection<String> sums =
        p.apply(Create.timestamped(at(0, "a", 1), at(1, "b", 2), at(2, "a", 3), at(11, "a", 5)))
            .apply(Window.into(FixedWindows.of(TEN)))
            .apply(ParDo.of(new SumAtTheEnd()));
    PAssert.that(sums).containsInAnyOrder("a 4", "b 2", "a 5");
    finish(p);
  }

  /** Collects numbers in a bag, and gives their sum out when the window ends. */
  private static class SumAtTheEnd extends DoFn<KV<String, Integer>, String> {
    @StateId("numbers")
    private final StateSpec<BagState<Integer>> numbersSpec = StateSpecs.bag(VarIntCoder.of());

    @TimerId("end")
    private final TimerSpec endSpec = TimerSpecs.timer(TimeDomain.EVENT_TIME);

    @ProcessElement
    public void process(
        @Element KV<String, Integer> e, BoundedWindow window, @StateId("numbers") BagState<Integer> numbers, @TimerId("end") Timer end) {
      numbers.add(e.getValue());
      end.set(window.maxTimestamp());
    }

    @OnTimer("end")
    public void end(@Key String key, @StateId("numbers") BagState<Integer> numbers, OutputReceiver<String> out) {
      int sum = 0;
      for (int n : numbers.read()) {
        sum += n;
      }
      numbers.clear();
      out.output(key + " " + sum);
    }
  }

  static void windows() {
    Pipeline p = pipeline();
    Map<String, WindowFn<Object, IntervalWindow>> fns = new LinkedHashMap<>();
    fns.put("0-10 3, 10-20 3", FixedWindows.of(TEN));
    fns.put("-5-5 3, 0-10 3, 5-15 3, 10-20 3", SlidingWindows.of(TEN).every(Duration.standardSeconds(5)));
    fns.put("0-9 3, 11-16 3", Sessions.withGapDuration(Duration.standardSeconds(5)));
    fns.forEach(
        (want, fn) -> {
          PCollection<String> got =
              p.apply(want, Create.timestamped(at(0, "a", 1), at(4, "a", 2), at(11, "a", 3)))
                  .apply("Window " + want, Window.into(fn))
                  .apply("Sum " + want, Sum.integersPerKey())
                  .apply("Span " + want, ParDo.of(new Span()))
                  .apply("Global " + want, Window.into(new org.apache.beam.sdk.transforms.windowing.GlobalWindows()));
          PAssert.that(want, got).containsInAnyOrder(want.split(", "));
        });
    finish(p);
  }

  private static class Span extends DoFn<KV<String, Integer>, String> {
    @ProcessElement
    public void process(@Element KV<String, Integer> e, BoundedWindow w, OutputReceiver<String> out) {
      IntervalWindow i = (IntervalWindow) w;
      out.output(i.start().getMillis() / 1000 + "-" + i.end().getMillis() / 1000 + " " + e.getValue());
    }
  }

  static void failure() {
    Pipeline p = pipeline();
    p.apply(Create.of(7))
        .apply("ThisStep", MapElements.into(integers()).via((Integer x) -> { throw new IllegalStateException("boom " + x); }));
    try {
      finish(p);
    } catch (Pipeline.PipelineExecutionException e) {
      check(e.getMessage().contains("boom 7") && e.getMessage().contains("ThisStep"), e.getMessage());
      return;
    }
    throw new AssertionError("the job did not fail");
  }

  static void metrics() {
    Pipeline p = pipeline();
    p.apply(Create.of(0, 1, 2, 3)).apply(ParDo.of(new Measure()));
    MetricQueryResults found =
        finish(p).metrics().queryMetrics(MetricsFilter.builder().addNameFilter(MetricNameFilter.inNamespace("smoke")).build());
    long elements = found.getCounters().iterator().next().getCommitted();
    check(elements == 4, "counters: " + elements);
    check(found.getDistributions().iterator().next().getCommitted().getSum() == 6, "distributions: " + found);
  }

  private static class Measure extends DoFn<Integer, Integer> {
    private final Counter elements = Metrics.counter("smoke", "elements");
    private final Distribution sizes = Metrics.distribution("smoke", "sizes");

    @ProcessElement
    public void process(@Element Integer x, OutputReceiver<Integer> out) {
      elements.inc();
      sizes.update(x);
      out.output(x);
    }
  }

  static void splittableDoFn() {
    Pipeline p = pipeline();
    PCollection<Long> numbers = p.apply(Create.of(25L, 5L)).apply(ParDo.of(new Count()));
    List<Long> want = new ArrayList<>();
    for (long n = 0; n < 25; n++) {
      want.add(n);
      if (n < 5) {
        want.add(n);
      }
    }
    PAssert.that(numbers).containsInAnyOrder(want);
    finish(p);
  }

  /** Numbers up to an element, and now and then the rest later. */
  @DoFn.BoundedPerElement
  private static class Count extends DoFn<Long, Long> {
    @GetInitialRestriction
    public OffsetRange initial(@Element Long n) {
      return new OffsetRange(0, n);
    }

    @ProcessElement
    public ProcessContinuation process(RestrictionTracker<OffsetRange, Long> tracker, OutputReceiver<Long> out) {
      for (long n = tracker.currentRestriction().getFrom(); tracker.tryClaim(n); ) {
        out.output(n++);
        if (n % 7 == 0) {
          return ProcessContinuation.resume();
        }
      }
      return ProcessContinuation.stop();
    }
  }

  static void flattenAndReshuffle() {
    Pipeline p = pipeline();
    PCollection<Integer> both =
        PCollectionList.of(p.apply("One", Create.of(1, 2))).and(p.apply("Other", Create.of(3))).apply(Flatten.pCollections());
    PAssert.that(both.apply(Reshuffle.viaRandomKey())).containsInAnyOrder(1, 2, 3);
    finish(p);
  }

  static void stream() {
    Pipeline p = pipeline("--streaming");
    TestStream.Builder<KV<String, Integer>> events =
        TestStream.create(KvCoder.of(StringUtf8Coder.of(), VarIntCoder.of())).advanceWatermarkTo(new Instant(0));
    for (int at : new int[] {1, 2, 12}) {
      events = events.addElements(at(at, "k", at)).advanceWatermarkTo(new Instant(1000L * at));
    }
    PCollection<String> panes =
        p.apply(events.advanceWatermarkToInfinity())
            .apply(
                Window.<KV<String, Integer>>into(FixedWindows.of(TEN))
                    .triggering(AfterWatermark.pastEndOfWindow().withEarlyFirings(AfterPane.elementCountAtLeast(1)))
                    .withAllowedLateness(Duration.ZERO)
                    .withOnTimeBehavior(Window.OnTimeBehavior.FIRE_IF_NON_EMPTY) // else an empty pane comes last
                    .discardingFiredPanes())
            .apply(GroupByKey.create())
            .apply(ParDo.of(new Sorted()));
    PAssert.that(panes).containsInAnyOrder("k [1]", "k [2]", "k [12]");
    finish(p);
  }

  static void drain() throws Exception {
    Pipeline p = pipeline("--streaming");
    p.apply(GenerateSequence.from(0).withRate(20, Duration.standardSeconds(1)))
        .apply(MapElements.into(integers()).via(Long::intValue))
        .apply(ParDo.of(new Measure()));
    PipelineResult result = p.run();
    while (!result.metrics().allMetrics().getCounters().iterator().hasNext()) {
      check(!result.getState().isTerminal(), "the job is " + result.getState());
      result.waitUntilFinish(Duration.millis(100));
    }
    ((io.github.pharosbeam.PharosPipelineResult) result).drain();
    check(result.waitUntilFinish() == PipelineResult.State.DONE, "the job is " + result.getState());
  }

  static void workerProcess() {
    Pipeline p = pipeline("--defaultEnvironmentType=PROCESS");
    long here = ProcessHandle.current().pid();
    PCollection<Boolean> same =
        p.apply(Create.of(1))
            .apply(MapElements.into(longs()).via((Integer x) -> ProcessHandle.current().pid()))
            .setCoder(VarLongCoder.of())
            .apply(MapElements.into(org.apache.beam.sdk.values.TypeDescriptors.booleans()).via((Long pid) -> pid == here));
    PAssert.thatSingleton(same).isEqualTo(false);
    finish(p);
  }

  private interface Case {
    void run() throws Exception;
  }

  public static void main(String[] args) {
    Map<String, Case> cases = new LinkedHashMap<>();
    cases.put("group_by_key", Smoke::groupByKey);
    cases.put("combine", Smoke::combine);
    cases.put("side_inputs", Smoke::sideInputs);
    cases.put("state_and_timers", Smoke::stateAndTimers);
    cases.put("windows", Smoke::windows);
    cases.put("failure", Smoke::failure);
    cases.put("metrics", Smoke::metrics);
    cases.put("splittable_dofn", Smoke::splittableDoFn);
    cases.put("outputs_and_reshuffle", Smoke::flattenAndReshuffle);
    cases.put("stream", Smoke::stream);
    cases.put("drain", Smoke::drain);
    cases.put("worker_processes", Smoke::workerProcess);
    boolean failed = false;
    for (Map.Entry<String, Case> c : cases.entrySet()) {
      if (args.length > 0 && !Arrays.asList(args).contains(c.getKey())) {
        continue;
      }
      String outcome = "ok";
      try {
        c.getValue().run();
      } catch (Throwable e) { // also what a version lacks
        e.printStackTrace();
        outcome = String.valueOf(e).split("\n")[0];
        failed = true;
      }
      System.out.println(c.getKey() + "\t" + outcome);
    }
    System.exit(failed ? 1 : 0);
  }
}
