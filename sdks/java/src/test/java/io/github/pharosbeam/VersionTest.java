package io.github.pharosbeam;

import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import org.junit.Test;

/** Which versions fit each other. */
public class VersionTest {
  @Test
  public void thisPackageHasAVersion() {
    assertTrue(Version.OWN, Version.OWN.matches("\\d+\\.\\d+\\.\\d+.*"));
  }

  @Test
  public void versionsFitThatHaveTheirFirstNumbersInCommon() {
    assertTrue(Version.fits("1.2.3", "1.0.0"));
    assertTrue(Version.fits("0.1.7", "0.1.0-SNAPSHOT"));
    assertTrue(Version.fits("v0.1.7", "0.1.0"));
    assertFalse(Version.fits("2.0.0", "1.9.0"));
    assertFalse(Version.fits("0.2.0", "0.1.0"));
    assertFalse(Version.fits("1.0.0", "0.1.0"));
  }

  @Test
  public void buildsBetweenVersionsFitEverything() {
    assertTrue(Version.fits("dev-0123", "0.1.0"));
    assertTrue(Version.fits("v0.0.0-20261127010203-0123456789ab", "0.1.0"));
  }
}
