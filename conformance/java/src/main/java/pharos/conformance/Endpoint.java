package pharos.conformance;

import java.net.InetSocketAddress;
import java.net.Socket;

/** Whether the job service answers. */
final class Endpoint {
  private static final int WAIT_S = 20;

  static boolean alive(String endpoint) {
    int colon = endpoint.lastIndexOf(':');
    if (colon < 0) {
      return true; // the DirectRunner
    }
    try (Socket s = new Socket()) {
      s.connect(new InetSocketAddress(endpoint.substring(0, colon), Integer.parseInt(endpoint.substring(colon + 1))), 3000);
      return true;
    } catch (java.io.IOException e) {
      return false;
    }
  }

  /** Waits for a job service that is being started again; ends the kit without one. */
  static void await(String endpoint) throws InterruptedException {
    for (int i = 0; i < WAIT_S * 5; i++) {
      if (alive(endpoint)) {
        return;
      }
      Thread.sleep(200);
    }
    System.err.println("no job service at " + endpoint);
    System.exit(2);
  }

  private Endpoint() {}
}
