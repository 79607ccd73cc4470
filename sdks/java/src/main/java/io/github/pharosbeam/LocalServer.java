package io.github.pharosbeam;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A {@code pharos serve} of this program's own, on free ports. Its standard input is a pipe from here, and it ends with that
 * pipe: it does not outlive this JVM, however that ends.
 */
final class LocalServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(LocalServer.class);

  private static final long START_LIMIT_MS = 30_000;
  private static final long START_POLL_MS = 10;
  private static final long STOP_LIMIT_S = 15;

  /** Lines of its output that an error quotes. */
  private static final int TAIL_LINES = 10;

  private final String program;
  private final Process process;
  private final Thread output;
  private final Deque<String> tail = new ArrayDeque<>();
  private String endpoint;

  private LocalServer(String program, Process process) {
    this.program = program;
    this.process = process;
    output = new Thread(this::readOutput, "pharos-output");
    output.setDaemon(true);
    output.start();
  }

  /** Starts a server; it serves when this returns. */
  static LocalServer start(PharosPipelineOptions options) {
    Path dir = null;
    try {
      dir = Files.createTempDirectory("pharos-java");
      Path ready = dir.resolve("ready.json");
      List<String> command = command(options, ready);
      Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
      LocalServer server = new LocalServer(command.get(0), process);
      server.awaitReady(ready);
      return server;
    } catch (IOException e) {
      throw new PharosException("cannot start a pharos server: " + e.getMessage(), e);
    } finally {
      if (dir != null) {
        dir.resolve("ready.json").toFile().delete();
        dir.toFile().delete();
      }
    }
  }

  private static List<String> command(PharosPipelineOptions options, Path ready) {
    List<String> c = new ArrayList<>(List.of(Program.find(options.getPharosBinary()), "serve", "--port=0", "--http-port=0"));
    c.addAll(List.of("--until-eof", "--log-level=warn", "--ready-file=" + ready));
    if (options.getPharosMemory() != null) {
      c.add("--memory=" + options.getPharosMemory());
    }
    if (options.getPharosDisk() != null) {
      c.add("--disk=" + options.getPharosDisk());
    }
    if (options.getPharosDataDir() != null) {
      c.add("--data=" + options.getPharosDataDir());
    }
    return c;
  }

  private void readOutput() {
    try (BufferedReader in = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      for (String line; (line = in.readLine()) != null; ) {
        LOG.debug("{}", line);
        synchronized (tail) {
          if (tail.size() == TAIL_LINES) {
            tail.removeFirst();
          }
          tail.addLast(line);
        }
      }
    } catch (IOException e) {
      LOG.debug("the output of pharos ended", e);
    }
  }

  private void awaitReady(Path ready) throws IOException {
    long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(START_LIMIT_MS);
    try {
      while (!Files.exists(ready)) {
        if (process.waitFor(START_POLL_MS, TimeUnit.MILLISECONDS)) {
          output.join(START_LIMIT_MS);
          throw new PharosException("pharos serve ended with exit code " + process.exitValue() + ": " + said());
        }
        if (System.nanoTime() > end) {
          close();
          throw new PharosException("pharos serve is not ready after " + START_LIMIT_MS / 1000 + " s: " + said());
        }
      }
    } catch (InterruptedException e) {
      close();
      Thread.currentThread().interrupt();
      throw new PharosException("interrupted while pharos serve was starting", e);
    }
    endpoint = new ObjectMapper().readTree(ready.toFile()).path("job_endpoint").asText();
  }

  private String said() {
    synchronized (tail) {
      return tail.isEmpty() ? "it says nothing (is " + program + " pharos?)" : String.join(" / ", tail);
    }
  }

  /** HOST:PORT of its job service. */
  String endpoint() {
    return endpoint;
  }

  @Override
  public void close() {
    try {
      process.getOutputStream().close();
      if (!process.waitFor(STOP_LIMIT_S, TimeUnit.SECONDS)) {
        LOG.warn("pharos serve does not end and is killed");
        process.destroyForcibly();
      }
    } catch (IOException e) {
      process.destroyForcibly();
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
