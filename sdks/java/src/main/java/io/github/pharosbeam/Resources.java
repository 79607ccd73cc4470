package io.github.pharosbeam;

import java.util.ArrayDeque;
import java.util.Deque;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What was started for a job, to be released last to first, once. */
final class Resources implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Resources.class);

  private final Deque<AutoCloseable> held = new ArrayDeque<>();

  synchronized <T extends AutoCloseable> T add(T resource) {
    held.push(resource);
    return resource;
  }

  @Override
  public synchronized void close() {
    while (!held.isEmpty()) {
      AutoCloseable r = held.pop();
      try {
        r.close();
      } catch (Exception e) {
        LOG.warn("cannot close {}", r, e);
      }
    }
  }
}
