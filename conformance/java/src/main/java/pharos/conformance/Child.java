package pharos.conformance;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** A JVM that runs one test at a time (see Worker). */
final class Child {
  /** Seconds beyond a test's limit until the JVM itself counts as stuck. */
  private static final int GRACE_S = 25;

  /** Seconds that a JVM whose test took too long may take to cancel its jobs and end. */
  private static final int END_S = 10;

  private static final String HEAP = "3g"; // testLargeKeys100MB needs it

  private static final List<String> OPENED =
      List.of(
          "java.lang", "java.util", "java.nio", "java.io", "java.math", "java.net", "java.time", "java.lang.reflect",
          "java.lang.invoke", "java.util.concurrent", "sun.nio.ch");

  private final Process process;
  private final BufferedWriter in;
  private final LinkedBlockingQueue<String> answers = new LinkedBlockingQueue<>();

  Child(String pipelineOptions, List<String> properties, Path log) throws IOException {
    List<String> cmd = new ArrayList<>();
    cmd.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    cmd.addAll(List.of("-Xmx" + HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"));
    cmd.add("-DbeamTestPipelineOptions=" + pipelineOptions);
    cmd.add("-DbeamUseDummyRunner=false");
    cmd.addAll(properties);
    cmd.add("-Djava.util.logging.config.file=" + System.getProperty("java.util.logging.config.file", ""));
    OPENED.forEach(p -> cmd.add("--add-opens=java.base/" + p + "=ALL-UNNAMED"));
    cmd.addAll(List.of("-cp", System.getProperty("java.class.path"), Worker.class.getName(), log.toString()));
    process =
        new ProcessBuilder(cmd).redirectError(ProcessBuilder.Redirect.appendTo(log.toFile())).start();
    in = new BufferedWriter(new OutputStreamWriter(process.getOutputStream()));
    Thread reader = new Thread(this::read);
    reader.setDaemon(true);
    reader.start();
    Runtime.getRuntime().addShutdownHook(new Thread(this::kill));
  }

  private void read() {
    try (BufferedReader out = new BufferedReader(new InputStreamReader(process.getInputStream()))) {
      for (String l; (l = out.readLine()) != null; ) {
        if (l.startsWith(Worker.ANSWER)) {
          answers.add(l.substring(Worker.ANSWER.length()));
        }
      }
    } catch (IOException e) {
      // The child is gone; the empty answer says so.
    }
    answers.add("");
  }

  /** The result of a test; null when the JVM died or is stuck. */
  ObjectNode run(String test, int limitS) throws Exception {
    try {
      in.write(test + "\t" + limitS);
      in.newLine();
      in.flush();
    } catch (IOException e) {
      process.waitFor(5, TimeUnit.SECONDS);
      return null;
    }
    String answer = answers.poll(limitS + GRACE_S, TimeUnit.SECONDS);
    if (answer == null) {
      return null;
    }
    if (answer.isEmpty()) {
      process.waitFor(5, TimeUnit.SECONDS);
      return null;
    }
    return (ObjectNode) Main.JSON.readTree(answer);
  }

  boolean alive() {
    return process.isAlive();
  }

  int exitCode() {
    return process.exitValue();
  }

  /** Waits for a JVM that ends by itself, but not forever. */
  void awaitEnd() throws InterruptedException {
    process.waitFor(END_S, TimeUnit.SECONDS);
  }

  void kill() {
    process.destroyForcibly();
  }
}
