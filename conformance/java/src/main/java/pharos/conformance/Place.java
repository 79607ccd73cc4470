package pharos.conformance;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;

/** Where the code of a test's pipeline runs. */
enum Place {
  /** In the test's JVM. */
  LOOPBACK,
  /** In a process that is set up as Beam's container is, for tests of just that set-up. */
  PROCESS;

  private static final String SET_UP = "UsesSdkHarnessEnvironment";

  static Place of(Discover.T test) {
    return test.categories.contains(SET_UP) ? PROCESS : LOOPBACK;
  }

  /** What a test needs that a runner without workers of its own does not have; null if nothing. */
  static String neededBy(Discover.T test) {
    return List.of("UsesExternalService", SET_UP).stream().filter(test.categories::contains).findFirst().orElse(null);
  }

  /** Pipeline options. */
  List<String> options() {
    if (this == LOOPBACK) {
      return List.of("--defaultEnvironmentType=LOOPBACK");
    }
    String config = new ObjectMapper().createObjectNode().put("command", System.getProperty("kit.worker")).toString();
    return List.of("--defaultEnvironmentType=PROCESS", "--defaultEnvironmentConfig=" + config);
  }
}
