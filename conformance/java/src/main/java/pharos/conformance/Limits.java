package pharos.conformance;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** How long tests may take, in seconds: all alike, but for those that a file names. */
final class Limits {
  private final int usual;
  private final Map<String, Integer> longer = new HashMap<>();

  private Limits(int usual) {
    this.usual = usual;
  }

  /** Reads a table: test, seconds, why; # begins a comment. */
  static Limits read(Path file, String usual) throws IOException {
    Limits limits = new Limits(Integer.parseInt(usual));
    for (String line : Files.readAllLines(file)) {
      String[] cells = line.split("\t");
      if (!line.startsWith("#") && cells.length == 3) {
        limits.longer.put(cells[0], Integer.parseInt(cells[1]));
      }
    }
    return limits;
  }

  int of(String test) {
    return Math.max(usual, longer.getOrDefault(test, 0));
  }
}
