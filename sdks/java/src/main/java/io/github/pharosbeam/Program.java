package io.github.pharosbeam;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Locale;

/** Where the {@code pharos} program is. */
final class Program {
  static final String VARIABLE = "PHAROS_BINARY";

  private static final int HASH_LENGTH = 64; // of SHA-256 in hexadecimal

  private Program() {}

  /**
   * The program to start: what the option names, else $PHAROS_BINARY, else what a jar on the class path has for this platform,
   * else the PATH's.
   */
  static String find(String option) {
    if (option != null) {
      return executable(option, "--pharosBinary");
    }
    String variable = System.getenv(VARIABLE);
    if (variable != null && !variable.isEmpty()) {
      return executable(variable, VARIABLE);
    }
    Path unpacked = unpacked(Program.class.getClassLoader(), cache());
    if (unpacked != null) {
      return unpacked.toString();
    }
    for (String dir : System.getenv().getOrDefault("PATH", "").split(File.pathSeparator)) {
      for (String name : List.of("pharos", "pharos.exe")) {
        File f = new File(dir, name);
        if (f.isFile() && f.canExecute()) {
          return f.getPath();
        }
      }
    }
    throw new PharosException(
        "no pharos program: add the artifact pharos-beam with the classifier "
            + platform(System.getProperty("os.name"), System.getProperty("os.arch"))
            + ", put one on the PATH, name it with --pharosBinary or "
            + VARIABLE
            + ", or name a server that runs with --pharosEndpoint");
  }

  private static String executable(String path, String source) {
    File f = new File(path);
    if (!f.isFile() || !f.canExecute()) {
      throw new PharosException(source + ": " + path + " is not a program");
    }
    return f.getPath();
  }

  /** The name of a platform as the artifacts' classifiers have it, which is Go's. */
  static String platform(String os, String arch) {
    String o = os.toLowerCase(Locale.ROOT);
    String name = o.startsWith("mac") ? "darwin" : o.startsWith("windows") ? "windows" : o;
    String machine = arch.equals("x86_64") ? "amd64" : arch.equals("aarch64") ? "arm64" : arch;
    return name + "-" + machine;
  }

  /** The folder in which programs stay that were in jars, one for each version. */
  private static Path cache() {
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path base = xdg == null || xdg.isEmpty() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(xdg);
    return base.resolve("pharos");
  }

  /**
   * The program that a jar has for this platform, as a file, or null if no jar has one. A jar names the program's hash beside it,
   * and that names the folder: what is there already is not written again.
   */
  static Path unpacked(ClassLoader jars, Path cache) {
    String platform = platform(System.getProperty("os.name"), System.getProperty("os.arch"));
    String resource = "io/github/pharosbeam/program/" + platform + "/pharos";
    try (InputStream hash = jars.getResourceAsStream(resource + ".sha256");
        InputStream program = jars.getResourceAsStream(resource)) {
      if (hash == null || program == null) {
        return null;
      }
      String name = new String(hash.readNBytes(HASH_LENGTH), StandardCharsets.US_ASCII);
      if (!name.matches("[0-9a-f]{64}")) {
        throw new PharosException(resource + ".sha256 in a jar is no hash");
      }
      Path file = cache.resolve(name).resolve(platform.startsWith("windows") ? "pharos.exe" : "pharos");
      if (!Files.isExecutable(file)) {
        unpack(program, file);
      }
      return file;
    } catch (IOException e) {
      throw new PharosException("cannot unpack the pharos program to " + cache + " (XDG_CACHE_HOME names another folder): " + e, e);
    }
  }

  /** Writes the program in one step: whoever sees it sees it whole. */
  private static void unpack(InputStream program, Path file) throws IOException {
    Files.createDirectories(file.getParent());
    Path part = Files.createTempFile(file.getParent(), "part", null);
    try {
      Files.copy(program, part, StandardCopyOption.REPLACE_EXISTING);
      if (!part.toFile().setExecutable(true)) {
        throw new IOException(part + " cannot be made a program");
      }
      Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(part);
    }
  }
}
