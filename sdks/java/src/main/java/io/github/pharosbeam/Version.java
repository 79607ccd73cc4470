package io.github.pharosbeam;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Properties;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The version of this package, and which servers it fits. */
final class Version {
  /** This package's, as its pom.xml says. */
  static final String OWN = own();

  private static final Pattern NUMBERS = Pattern.compile("v?(\\d+)\\.(\\d+)\\.\\d+.*");

  private Version() {}

  private static String own() {
    Properties properties = new Properties();
    try (InputStream in = Version.class.getResourceAsStream("version.properties")) {
      properties.load(in);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return properties.getProperty("version");
  }

  /**
   * Whether a server and a client of these versions understand each other: they have the same major number, and before 1.0 the
   * same minor number as well. A build without a version fits everything: whoever made it knows.
   */
  static boolean fits(String server, String client) {
    String theirs = line(server);
    String ours = line(client);
    return theirs.isEmpty() || ours.isEmpty() || theirs.equals(ours);
  }

  /** What versions that fit have in common; empty for a build between versions, which Go calls 0.0. */
  private static String line(String version) {
    Matcher m = NUMBERS.matcher(version);
    if (!m.matches() || (m.group(1).equals("0") && m.group(2).equals("0"))) {
      return "";
    }
    return m.group(1).equals("0") ? "0." + m.group(2) : m.group(1);
  }
}
