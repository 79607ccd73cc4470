package pharos.conformance;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.stream.Collectors;

/**
 * Parent JVM: finds the tests, hands them to child JVMs one by one, and writes the results.
 *
 * <p>Main ENDPOINT OUT [--only FILE] [--timeout SECONDS] [--workers N] [--runner NAME]; ENDPOINT is HOST:PORT, or "direct"
 * for Beam's in-process DirectRunner, or "list". NAME is a runner, like TestPharosRunner; by default it is {@link KitRunner}.
 */
public final class Main {
  static final ObjectMapper JSON = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

  private static final String CATEGORY = "org.apache.beam.sdk.testing.ValidatesRunner";
  private static final String TEST_JARS = "beam-sdks-java-(core|extensions-avro)-.*-tests\\.jar";

  /** Tests one JVM runs before a new one takes over, so that what they leave behind stays small. */
  private static final int TESTS_PER_JVM = 100;

  private final String endpoint;
  private final String runner;
  private final Path logs;
  private final Limits limits;
  private final Map<String, ObjectNode> results = Collections.synchronizedMap(new HashMap<>());
  private final ConcurrentLinkedQueue<Discover.T> queue = new ConcurrentLinkedQueue<>();
  private ExpansionService expansion; // null when nothing needs it

  private Main(String endpoint, String runner, Limits limits, Path logs) {
    this.endpoint = endpoint;
    this.runner = runner;
    this.limits = limits;
    this.logs = logs;
  }

  public static void main(String[] args) throws Exception {
    String endpoint = args[0];
    Map<String, String> flags = flags(args);
    List<Discover.T> tests = tests(flags.get("only"));
    if (endpoint.equals("list")) {
      tests.forEach(t -> System.out.println(t.id + "\t" + String.join(",", t.categories)));
      return;
    }
    Path out = Path.of(args[1]).toAbsolutePath();
    Path logs = Path.of(out + ".logs");
    Files.createDirectories(logs);
    Limits limits = Limits.read(Path.of(System.getProperty("kit.limits")), flags.getOrDefault("timeout", "90"));
    String runner = flags.getOrDefault("runner", KitRunner.class.getName());
    Main main = new Main(endpoint, runner, limits, logs);
    long start = System.currentTimeMillis();
    main.run(tests, Integer.parseInt(flags.getOrDefault("workers", "1")));
    main.write(tests, out, (System.currentTimeMillis() - start) / 1000.0);
    System.exit(0);
  }

  /** The arguments after OUT: --name value. */
  private static Map<String, String> flags(String[] args) {
    Map<String, String> flags = new HashMap<>();
    for (int i = 2; i + 1 < args.length; i += 2) {
      flags.put(args[i].replaceFirst("^--?", ""), args[i + 1]);
    }
    return flags;
  }

  private static List<Discover.T> tests(String only) throws Exception {
    List<File> jars =
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
            .map(File::new)
            .filter(f -> f.getName().matches(TEST_JARS))
            .collect(Collectors.toList());
    List<Discover.T> all = Discover.find(jars, CATEGORY);
    if (only != null) {
      Set<String> wanted = new HashSet<>(Files.readAllLines(Path.of(only)));
      all.removeIf(t -> !wanted.contains(t.id));
    }
    return all;
  }

  /** The pipeline options of tests that run with a place for their code. */
  private List<String> options(Place place) throws Exception {
    if (endpoint.equals("direct")) {
      return List.of("--runner=DirectRunner", "--runnerDeterminedSharding=false");
    }
    Path small = logs.resolve("staged.txt");
    Files.writeString(small, "a small file, so that every job exercises artifact staging\n");
    List<String> o = new ArrayList<>();
    o.add("--runner=" + runner);
    o.add("--pharosEndpoint=" + endpoint);
    o.add("--filesToStage=" + small);
    o.addAll(place.options());
    String more = System.getenv("KIT_OPTIONS");
    if (more != null && !more.isBlank()) {
      o.addAll(List.of(more.trim().split(" +")));
    }
    return o;
  }

  /** JVM flags of the children: Beam's cross-language tests look for the port of their service. */
  private List<String> properties() {
    return expansion == null ? List.of() : List.of("-DexpansionPort=" + expansion.port());
  }

  private void run(List<Discover.T> tests, int workers) throws Exception {
    tests.stream().sorted(Comparator.comparing(Place::of)).forEach(this::enqueue);
    if (tests.stream().anyMatch(t -> t.ignored == null && t.categories.contains("UsesExternalService")) && !endpoint.equals("direct")) {
      expansion = ExpansionService.start(logs.resolve("expansion.log"));
    }
    List<Thread> threads = new ArrayList<>();
    for (int n = 0; n < workers; n++) {
      Path log = logs.resolve("worker-" + n + ".log");
      Thread thread = new Thread(() -> drive(log));
      thread.start();
      threads.add(thread);
    }
    for (Thread t : threads) {
      t.join();
    }
    if (expansion != null) {
      expansion.close();
    }
  }

  private void enqueue(Discover.T t) {
    String why = t.ignored != null ? t.ignored : endpoint.equals("direct") ? Place.neededBy(t) : null;
    if (why == null) {
      queue.add(t);
    } else {
      record(result(t.id, "skip", 0, why));
    }
  }

  /** Runs tests in one child JVM after another; a new one follows a time-out, a crash, TESTS_PER_JVM tests, or another place. */
  private void drive(Path log) {
    try {
      Child child = null;
      Place place = null;
      int ran = 0;
      for (Discover.T t; (t = queue.poll()) != null; ) {
        Endpoint.await(endpoint);
        if (child != null && place != Place.of(t)) {
          child.kill();
          child = null;
        }
        if (child == null) {
          place = Place.of(t);
          child = new Child(new ObjectMapper().writeValueAsString(options(place)), properties(), log);
          ran = 0;
        }
        ObjectNode r = runOne(child, t);
        record(r);
        boolean timeout = r.path("status").asText().equals("timeout");
        if (timeout) {
          child.awaitEnd();
        }
        if (timeout || !child.alive() || ++ran >= TESTS_PER_JVM) {
          child.kill();
          child = null;
        }
      }
      if (child != null) {
        child.kill();
      }
    } catch (Exception e) {
      e.printStackTrace();
    }
  }

  private ObjectNode runOne(Child child, Discover.T t) throws Exception {
    int limit = limits.of(t.id);
    ObjectNode r = child.run(t.id, limit);
    if (r == null) {
      r = child.alive()
          ? result(t.id, "timeout", limit, "test JVM stuck")
          : result(t.id, "fail", 0, "test JVM died, exit code " + child.exitCode());
    }
    if (!Endpoint.alive(endpoint)) {
      r.put("reason", "the job service died; the client saw: " + r.path("reason").asText());
    }
    return r;
  }

  private static ObjectNode result(String test, String status, double seconds, String reason) {
    ObjectNode r = JSON.createObjectNode();
    r.put("test", test);
    r.put("status", status);
    r.put("seconds", seconds);
    r.put("reason", reason);
    return r;
  }

  private void record(ObjectNode r) {
    results.put(r.get("test").asText(), r);
    System.out.printf(
        "%-8s %6.1fs  %s%s%n",
        r.get("status").asText(), r.path("seconds").asDouble(), r.get("test").asText(),
        r.has("reason") ? "  -- " + r.get("reason").asText() : "");
    System.out.flush();
  }

  private void write(List<Discover.T> tests, Path out, double wallS) throws Exception {
    ObjectNode root = JSON.createObjectNode();
    root.put("kit", "java");
    root.put("beam", System.getProperty("kit.beam", "?"));
    root.put("wall_seconds", wallS);
    ArrayNode array = root.putArray("tests");
    for (Discover.T t : tests) {
      array.add(results.getOrDefault(t.id, result(t.id, "fail", 0, "kit: not run")));
    }
    JSON.writeValue(out.toFile(), root);
  }
}
