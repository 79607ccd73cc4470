package io.github.pharosbeam;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import org.junit.Rule;
import org.junit.Test;
import org.junit.rules.TemporaryFolder;

/** Programs in jars. */
public class ProgramTest {
  @Rule public final TemporaryFolder folder = new TemporaryFolder();

  private URLClassLoader jar(String hash) throws IOException {
    Path root = folder.newFolder().toPath();
    String platform = Program.platform(System.getProperty("os.name"), System.getProperty("os.arch"));
    Path dir = Files.createDirectories(root.resolve("io/github/pharosbeam/program").resolve(platform));
    Files.writeString(dir.resolve("pharos"), "#!/bin/sh\n");
    Files.writeString(dir.resolve("pharos.sha256"), hash);
    return new URLClassLoader(new URL[] {root.toUri().toURL()}, null);
  }

  @Test
  public void namesPlatformsAsGoDoes() {
    assertEquals("linux-amd64", Program.platform("Linux", "amd64"));
    assertEquals("darwin-arm64", Program.platform("Mac OS X", "aarch64"));
    assertEquals("windows-amd64", Program.platform("Windows 11", "x86_64"));
  }

  @Test
  public void unpacksOnce() throws IOException {
    Path cache = folder.newFolder().toPath();
    try (URLClassLoader jar = jar("a".repeat(64))) {
      Path program = Program.unpacked(jar, cache);
      assertTrue(Files.isExecutable(program));
      FileTime written = FileTime.fromMillis(1000);
      Files.setLastModifiedTime(program, written);
      assertEquals(program, Program.unpacked(jar, cache));
      assertEquals(written, Files.getLastModifiedTime(program));
    }
  }

  @Test
  public void refusesWhatIsNoHash() throws IOException {
    Path cache = folder.newFolder().toPath();
    try (URLClassLoader jar = jar("../../up")) {
      assertThrows(PharosException.class, () -> Program.unpacked(jar, cache));
    }
  }

  @Test
  public void jarsWithoutAProgram() throws IOException {
    try (URLClassLoader none = new URLClassLoader(new URL[0], null)) {
      assertNull(Program.unpacked(none, folder.getRoot().toPath()));
    }
  }
}
