package io.github.pharosbeam;

/** A pipeline could not be submitted, or its job could not be asked about. The message is one line that says why. */
public class PharosException extends RuntimeException {
  private static final long serialVersionUID = 1;

  PharosException(String message) {
    super(message);
  }

  PharosException(String message, Throwable cause) {
    super(message, cause);
  }
}
