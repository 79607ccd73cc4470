package pharos.conformance;

import io.github.pharosbeam.JobFailedException;
import java.util.ArrayList;
import java.util.List;

/** One telling line out of an exception. */
final class Reasons {
  static String of(Throwable e) {
    String s = String.valueOf(e.getMessage());
    if (e.getCause() instanceof JobFailedException) {
      return cut("job failed: " + ofText(e.getCause().getMessage()));
    }
    return cut(e.getClass().getSimpleName() + ": " + String.join(" / ", said(s.split("\n"), 0, 3)));
  }

  /**
   * The job's own error text, usually a Java stack trace behind the runner's prefix: its first line,
   * and the innermost "Caused by" with the message lines that follow it.
   */
  private static String ofText(String text) {
    String[] lines = text.strip().split("\n");
    String out = String.join(" / ", said(lines, 0, 4));
    for (int i = lines.length - 1; i > 0; i--) {
      if (lines[i].strip().startsWith("Caused by:")) {
        String cause = String.join(" / ", said(lines, i, 4));
        if (cause.endsWith("Error") || cause.endsWith("Exception")) {
          // no message at all: the first frame in a test class says where
          for (int j = i + 1; j < lines.length && lines[j].strip().startsWith("at "); j++) {
            if (lines[j].contains("Test")) {
              cause += " " + lines[j].strip();
              break;
            }
          }
        }
        String tail = cause.substring("Caused by:".length()).strip();
        return out.contains(tail) ? out : firstLine(text) + " | " + cause;
      }
    }
    return out;
  }

  /** Up to n lines with text from lines[from], ending before the first stack frame. */
  private static List<String> said(String[] lines, int from, int n) {
    List<String> r = new ArrayList<>();
    for (int i = from; i < lines.length && r.size() < n; i++) {
      String l = lines[i].strip();
      if (l.startsWith("at ") || (i > from && l.startsWith("Caused by:"))) {
        break;
      }
      if (!l.isEmpty()) {
        r.add(l.length() > 250 ? l.substring(0, 250) + "…" : l);
      }
    }
    return r;
  }

  static String firstLine(String s) {
    for (String l : s.split("\n")) {
      if (!l.isBlank()) {
        return l.strip();
      }
    }
    return "";
  }

  static String cut(String s) {
    return s.length() > 600 ? s.substring(0, 600) + "…" : s;
  }

  private Reasons() {}
}
