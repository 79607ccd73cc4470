package pharos.conformance;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** Beam's Python expansion service with its test transforms, and workers for them: ../../xlang_expansion.py as a process. */
final class ExpansionService implements AutoCloseable {
  private static final int START_LIMIT_S = 60;

  private final Process process;
  private final int port;

  private ExpansionService(Process process, int port) {
    this.process = process;
    this.port = port;
    Runtime.getRuntime().addShutdownHook(new Thread(process::destroyForcibly));
  }

  static ExpansionService start(Path log) throws IOException, InterruptedException {
    int port = freePort();
    Process p =
        new ProcessBuilder(
                System.getProperty("kit.python"), System.getProperty("kit.expansion"), "--port", String.valueOf(port))
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    ExpansionService service = new ExpansionService(p, port);
    for (int i = 0; i < START_LIMIT_S * 10; i++) {
      if (Endpoint.alive("localhost:" + port)) {
        return service;
      }
      if (p.waitFor(100, TimeUnit.MILLISECONDS)) {
        break;
      }
    }
    service.close();
    throw new IOException("the Python expansion service does not start, see " + log);
  }

  private static int freePort() throws IOException {
    try (ServerSocket s = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return s.getLocalPort();
    }
  }

  int port() {
    return port;
  }

  @Override
  public void close() {
    process.destroyForcibly();
  }
}
