import io.github.pharosbeam.PharosPipelineResult;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import java.util.stream.StreamSupport;
import org.apache.beam.sdk.Pipeline;
import org.apache.beam.sdk.io.range.OffsetRange;
import org.apache.beam.sdk.metrics.Counter;
import org.apache.beam.sdk.metrics.Metrics;
import org.apache.beam.sdk.options.Description;
import org.apache.beam.sdk.options.PipelineOptionsFactory;
import org.apache.beam.sdk.options.StreamingOptions;
import org.apache.beam.sdk.options.Validation.Required;
import org.apache.beam.sdk.state.CombiningState;
import org.apache.beam.sdk.state.StateSpec;
import org.apache.beam.sdk.state.StateSpecs;
import org.apache.beam.sdk.state.TimeDomain;
import org.apache.beam.sdk.state.Timer;
import org.apache.beam.sdk.state.TimerSpec;
import org.apache.beam.sdk.state.TimerSpecs;
import org.apache.beam.sdk.transforms.Create;
import org.apache.beam.sdk.transforms.DoFn;
import org.apache.beam.sdk.transforms.Flatten;
import org.apache.beam.sdk.transforms.GroupByKey;
import org.apache.beam.sdk.transforms.MapElements;
import org.apache.beam.sdk.transforms.ParDo;
import org.apache.beam.sdk.transforms.Sum;
import org.apache.beam.sdk.transforms.WithKeys;
import org.apache.beam.sdk.transforms.splittabledofn.ManualWatermarkEstimator;
import org.apache.beam.sdk.transforms.splittabledofn.RestrictionTracker;
import org.apache.beam.sdk.transforms.splittabledofn.WatermarkEstimators;
import org.apache.beam.sdk.transforms.windowing.AfterWatermark;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.transforms.windowing.FixedWindows;
import org.apache.beam.sdk.transforms.windowing.GlobalWindows;
import org.apache.beam.sdk.transforms.windowing.IntervalWindow;
import org.apache.beam.sdk.transforms.windowing.PaneInfo;
import org.apache.beam.sdk.transforms.windowing.Sessions;
import org.apache.beam.sdk.transforms.windowing.Window;
import org.apache.beam.sdk.values.KV;
import org.apache.beam.sdk.values.PCollection;
import org.apache.beam.sdk.values.PCollectionList;
import org.apache.beam.sdk.values.TypeDescriptors;
import org.joda.time.Duration;
import org.joda.time.Instant;

/**
 * The crash suite's streaming job in Java: it computes the same lines as python/crash_stream.py, which explains them, and
 * crash/oracle.go. Submits the job and prints its id; does not wait for its end.
 */
public final class CrashStream {
  private static final long BASE_MS = 1_700_000_000_000L; // event time of id 0
  private static final long STEP_MS = 100; // between ids
  private static final long JITTER_MS = 5000; // ids are out of order by less than this
  private static final Duration WINDOW = Duration.standardSeconds(20);
  private static final Duration GAP = Duration.standardSeconds(4); // of sessions
  private static final long KEYS = 20;
  private static final long SESSION_KEYS = 50;
  private static final long SOURCES = 4; // elements of the source; each emits every fourth id
  private static final int BUCKETS = 4; // files

  private CrashStream() {}

  /** What the suite says: the flags of python/submit.py. */
  public interface Options extends StreamingOptions {
    @Required
    @Description("ids")
    Long getCount();

    void setCount(Long count);

    @Required
    Long getSeed();

    void setSeed(Long seed);

    @Required
    @Description("ids that a source emits at once")
    Long getBatch();

    void setBatch(Long batch);

    @Required
    @Description("seconds that it waits then")
    Double getPause();

    void setPause(Double seconds);

    @Required
    @Description("seconds until timers in processing time fire")
    Double getAlarm();

    void setAlarm(Double seconds);

    @Required
    @Description("folder for the result")
    String getOut();

    void setOut(String folder);
  }

  /** A hash of 64 bits: the finalizer of splitmix64. */
  private static long mix(long seed, long n) {
    long z = (seed * 0x9E3779B97F4A7C15L + n + 1) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
    return z ^ (z >>> 31);
  }

  private static Instant eventTime(long seed, long n) {
    return new Instant(BASE_MS + n * STEP_MS - Long.remainderUnsigned(mix(seed, n), JITTER_MS));
  }

  private static long key(long seed, long n, long keys) {
    return Long.remainderUnsigned(Long.divideUnsigned(mix(seed, n), JITTER_MS), keys);
  }

  private static Duration seconds(double s) {
    return Duration.millis(Math.round(s * 1000));
  }

  /** Emits ids at a rate: a few, then it lets the runner have the rest for later. Of source k, position p is id 4p+k. */
  @DoFn.UnboundedPerElement
  static final class Ids extends DoFn<Long, Long> {
    private final Counter emitted = Metrics.counter("crash", "ids");
    private final long count;
    private final long seed;
    private final long batch;
    private final Duration pause;

    Ids(Options o) {
      this.count = o.getCount();
      this.seed = o.getSeed();
      this.batch = o.getBatch();
      this.pause = seconds(o.getPause());
    }

    @GetInitialRestriction
    public OffsetRange initialRestriction(@Element Long source) {
      return new OffsetRange(0, (count - source + SOURCES - 1) / SOURCES);
    }

    @GetInitialWatermarkEstimatorState
    public Instant initialWatermark() {
      return BoundedWindow.TIMESTAMP_MIN_VALUE;
    }

    @NewWatermarkEstimator
    public WatermarkEstimators.Manual watermarkEstimator(@WatermarkEstimatorState Instant watermark) {
      return new WatermarkEstimators.Manual(watermark);
    }

    @ProcessElement
    public ProcessContinuation process(
        @Element Long source,
        RestrictionTracker<OffsetRange, Long> tracker,
        ManualWatermarkEstimator<Instant> watermark,
        OutputReceiver<Long> out) {
      long start = tracker.currentRestriction().getFrom();
      long stop = tracker.currentRestriction().getTo();
      for (long position = start; position < Math.min(start + batch, stop); position++) {
        if (!tracker.tryClaim(position)) {
          return ProcessContinuation.stop();
        }
        long n = position * SOURCES + source;
        emitted.inc();
        out.outputWithTimestamp(n, eventTime(seed, n));
        watermark.setWatermark(new Instant(BASE_MS + n * STEP_MS - JITTER_MS));
      }
      if (start + batch < stop) {
        return ProcessContinuation.resume().withResumeDelay(pause);
      }
      tracker.tryClaim(stop);
      return ProcessContinuation.stop();
    }
  }

  /** Counts each key's ids for ever, and tells each count: none may be missing, none may come twice. */
  static final class Totals extends DoFn<KV<Long, Long>, String> {
    @StateId("total")
    private final StateSpec<CombiningState<Long, long[], Long>> total = StateSpecs.combining(Sum.ofLongs());

    @ProcessElement
    public void process(
        @Element KV<Long, Long> kv, @StateId("total") CombiningState<Long, long[], Long> total, OutputReceiver<String> out) {
      total.add(1L);
      out.output("total|" + kv.getKey() + "|" + total.read());
    }
  }

  /** Counts and hashes the ids of a key and window, and tells it by a timer in event time at the window's end. */
  static final class Windowed extends DoFn<KV<Long, Long>, String> {
    @StateId("count")
    private final StateSpec<CombiningState<Long, long[], Long>> count = StateSpecs.combining(Sum.ofLongs());

    @StateId("hash")
    private final StateSpec<CombiningState<Long, long[], Long>> hash = StateSpecs.combining(Sum.ofLongs());

    @TimerId("end")
    private final TimerSpec end = TimerSpecs.timer(TimeDomain.EVENT_TIME);

    private final long seed;

    Windowed(long seed) {
      this.seed = seed;
    }

    @ProcessElement
    public void process(
        @Element KV<Long, Long> kv,
        BoundedWindow window,
        @StateId("count") CombiningState<Long, long[], Long> count,
        @StateId("hash") CombiningState<Long, long[], Long> hash,
        @TimerId("end") Timer end) {
      count.add(1L);
      hash.add(mix(seed, kv.getValue()) >>> 32);
      end.set(window.maxTimestamp());
    }

    @OnTimer("end")
    public void ended(
        @Key Long key,
        IntervalWindow window,
        @StateId("count") CombiningState<Long, long[], Long> count,
        @StateId("hash") CombiningState<Long, long[], Long> hash,
        OutputReceiver<String> out) {
      out.output("window|" + key + "|" + window.start().getMillis() / 1000 + "|" + count.read() + "|" + hash.read());
      count.clear();
      hash.clear();
    }
  }

  /** Names a key and its window, as a key of its own. */
  static final class WindowStart extends DoFn<KV<Long, Long>, KV<String, Long>> {
    @ProcessElement
    public void process(@Element KV<Long, Long> kv, IntervalWindow window, OutputReceiver<KV<String, Long>> out) {
      out.output(KV.of(kv.getKey() + "/" + window.start().getMillis() / 1000, 1L));
    }
  }

  /** Sets one timer in processing time for each of its keys, with the first id, and tells how often it has fired. */
  static final class Alarm extends DoFn<KV<String, Long>, String> {
    @StateId("set")
    private final StateSpec<CombiningState<Long, long[], Long>> once = StateSpecs.combining(Sum.ofLongs());

    @StateId("fired")
    private final StateSpec<CombiningState<Long, long[], Long>> fired = StateSpecs.combining(Sum.ofLongs());

    @TimerId("bell")
    private final TimerSpec bell = TimerSpecs.timer(TimeDomain.PROCESSING_TIME);

    private final Duration delay;

    Alarm(Duration delay) {
      this.delay = delay;
    }

    @ProcessElement
    public void process(@StateId("set") CombiningState<Long, long[], Long> once, @TimerId("bell") Timer bell) {
      if (once.read() == 0) {
        once.add(1L);
        bell.offset(delay).setRelative();
      }
    }

    @OnTimer("bell")
    public void rang(
        @Key String key, @StateId("fired") CombiningState<Long, long[], Long> fired, OutputReceiver<String> out) {
      fired.add(1L);
      out.output("alarm|" + key + "|" + fired.read());
    }
  }

  /** Tells what is in a session. */
  static final class SessionLine extends DoFn<KV<Long, Iterable<Long>>, String> {
    private final long seed;

    SessionLine(long seed) {
      this.seed = seed;
    }

    @ProcessElement
    public void process(@Element KV<Long, Iterable<Long>> kv, IntervalWindow window, OutputReceiver<String> out) {
      long count = 0;
      long digest = 0;
      for (long n : kv.getValue()) {
        count++;
        digest += mix(seed, n) >>> 32;
      }
      out.output(
          "session|" + kv.getKey() + "|" + window.start().getMillis() + "|" + window.end().getMillis() + "|" + count + "|" + digest);
    }
  }

  /** Writes a bucket's lines to a file, which says the same however often it is written. */
  static final class Write extends DoFn<KV<Integer, Iterable<String>>, Void> {
    private final String folder;

    Write(String folder) {
      this.folder = folder;
    }

    @ProcessElement
    public void process(@Element KV<Integer, Iterable<String>> kv, PaneInfo pane) throws IOException {
      String text =
          StreamSupport.stream(kv.getValue().spliterator(), false).sorted().collect(Collectors.joining("\n", "", "\n"));
      String name = kv.getKey() + "-" + pane.getIndex();
      Path path = Path.of(folder, name);
      if (Files.exists(path) && !Files.readString(path).equals(text)) {
        name += ".differs";
      }
      Path part = Path.of(folder, name + ".tmp" + ProcessHandle.current().pid());
      Files.writeString(part, text, StandardCharsets.UTF_8);
      Files.move(part, Path.of(folder, name), StandardCopyOption.ATOMIC_MOVE);
    }
  }

  private static void build(Pipeline p, Options o) {
    long seed = o.getSeed();
    PCollection<Long> ids =
        p.apply("Sources", Create.of(LongStream.range(0, SOURCES).boxed().collect(Collectors.toList())))
            .apply("Ids", ParDo.of(new Ids(o)));
    PCollection<KV<Long, Long>> keyed = keyed("Key", ids, seed, KEYS);
    PCollection<KV<Long, Long>> windowed = keyed.apply("Fixed", Window.into(FixedWindows.of(WINDOW)));
    PCollection<KV<String, Long>> starts = windowed.apply("WindowStart", ParDo.of(new WindowStart()));
    PCollection<String> sessions =
        keyed("SessionKey", ids, seed, SESSION_KEYS)
            .apply("Session", Window.into(Sessions.withGapDuration(GAP)))
            .apply("Sessions", GroupByKey.create())
            .apply("SessionLine", ParDo.of(new SessionLine(seed)));
    PCollectionList.of(ids.apply("Id", MapElements.into(TypeDescriptors.strings()).via(n -> "id|" + n)))
        .and(keyed.apply("Totals", ParDo.of(new Totals())))
        .and(everything("AllWindows", windowed.apply("Windowed", ParDo.of(new Windowed(seed)))))
        .and(everything("AlarmWindow", starts).apply("Alarm", ParDo.of(new Alarm(seconds(o.getAlarm())))))
        .and(everything("AllSessions", sessions))
        .apply(Flatten.pCollections())
        .apply("Bucket", WithKeys.of(CrashStream::bucket).withKeyType(TypeDescriptors.integers()))
        .apply("End", atTheEnd())
        .apply("Gather", GroupByKey.create())
        .apply("Write", ParDo.of(new Write(o.getOut())));
  }

  private static PCollection<KV<Long, Long>> keyed(String name, PCollection<Long> ids, long seed, long keys) {
    return ids.apply(name, WithKeys.of((Long n) -> key(seed, n, keys)).withKeyType(TypeDescriptors.longs()));
  }

  private static int bucket(String line) {
    return Math.floorMod(line.hashCode(), BUCKETS);
  }

  /** The default trigger by another name: Java's GroupByKey wants one to be chosen where a window has no end. */
  private static <T> Window<T> atTheEnd() {
    return Window.<T>configure()
        .triggering(AfterWatermark.pastEndOfWindow())
        .withAllowedLateness(Duration.ZERO)
        .discardingFiredPanes();
  }

  /** Puts elements into the window that holds everything. */
  private static <T> PCollection<T> everything(String name, PCollection<T> elements) {
    return elements.apply(name, Window.into(new GlobalWindows()));
  }

  public static void main(String[] args) {
    Options options = PipelineOptionsFactory.fromArgs(args).withValidation().as(Options.class);
    options.setStreaming(true);
    Pipeline p = Pipeline.create(options);
    build(p, options);
    // The runner that has been asked may be dead by now: ask it for nothing more.
    System.out.println(((PharosPipelineResult) p.run()).getJobId());
  }
}
