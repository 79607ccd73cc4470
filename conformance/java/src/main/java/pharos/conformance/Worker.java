package pharos.conformance;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.beam.sdk.PipelineResult;
import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.Request;
import org.junit.runner.Result;
import org.junit.runner.manipulation.Filter;
import org.junit.runner.notification.Failure;
import org.junit.runner.notification.RunListener;

/** Child JVM: reads one test id and its time limit per line, runs it, answers one line of JSON. */
public final class Worker {
  /** What a line of standard output that holds a result begins with. */
  static final String ANSWER = "@@RESULT ";

  public static void main(String[] args) throws Exception {
    PrintStream answers = System.out;
    PrintStream log = new PrintStream(new FileOutputStream(args[0], true), true);
    System.setOut(log);
    System.setErr(log);
    ObjectMapper om = new ObjectMapper();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
    for (String line; (line = in.readLine()) != null; ) {
      String id = line.substring(0, line.lastIndexOf('\t'));
      long timeoutMs = Long.parseLong(line.substring(line.lastIndexOf('\t') + 1)) * 1000;
      log.println("=== " + new java.util.Date() + " START " + id);
      ObjectNode r = om.createObjectNode();
      r.put("test", id);
      boolean alive = runOne(id, timeoutMs, r);
      log.println("=== " + r.path("status").asText() + " " + id);
      answers.println(ANSWER + om.writeValueAsString(r));
      answers.flush();
      if (!alive) {
        System.exit(3); // a stuck thread stays behind: the parent starts a new JVM; our runner's hook cancels the job
      }
    }
    Runtime.getRuntime().halt(0);
  }

  private static boolean runOne(String id, long timeoutMs, ObjectNode r) throws Exception {
    int h = id.indexOf('#');
    String cls = id.substring(0, h);
    String method = id.substring(h + 1);
    synchronized (KitRunner.JOBS) {
      KitRunner.JOBS.clear();
    }
    KitRunner.phase = "building";
    AtomicReference<Result> res = new AtomicReference<>();
    AtomicReference<Throwable> bad = new AtomicReference<>();
    List<String> skipped = new ArrayList<>();
    Thread t =
        new Thread(
            () -> {
              try {
                Request q =
                    Request.aClass(Class.forName(cls))
                        .filterWith(
                            new Filter() {
                              @Override
                              public boolean shouldRun(Description d) {
                                if (d.isTest()) {
                                  return method.equals(d.getMethodName());
                                }
                                return d.getChildren().stream().anyMatch(this::shouldRun);
                              }

                              @Override
                              public String describe() {
                                return method;
                              }
                            });
                JUnitCore core = new JUnitCore();
                core.addListener(
                    new RunListener() {
                      @Override
                      public void testAssumptionFailure(Failure f) {
                        skipped.add("assumption: " + f.getMessage());
                      }

                      @Override
                      public void testIgnored(Description d) {
                        skipped.add("@Ignore");
                      }
                    });
                res.set(core.run(q));
              } catch (Throwable e) {
                bad.set(e);
              }
            },
            "kit-test");
    long t0 = System.nanoTime();
    t.setDaemon(true);
    t.start();
    t.join(timeoutMs);
    r.put("seconds", TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - t0) / 1000.0);
    if (t.isAlive()) {
      r.put("status", "timeout");
      r.put("reason", "no end after " + timeoutMs / 1000 + " s; " + where(t));
      dump();
      cancelJobs(r);
      return false;
    }
    synchronized (KitRunner.JOBS) {
      r.put("jobs", KitRunner.JOBS.size());
    }
    if (bad.get() != null) {
      failOrSkip(r, bad.get());
    } else if (!res.get().getFailures().isEmpty()) {
      failOrSkip(r, res.get().getFailures().get(0).getException());
    } else if (!skipped.isEmpty()) {
      r.put("status", "skip");
      r.put("reason", skipped.get(0));
    } else if (res.get().getRunCount() == 0) {
      r.put("status", "fail");
      r.put("reason", "kit: no such test in its class");
    } else {
      r.put("status", "pass");
    }
    return true;
  }

  private static String where(Thread t) {
    StringBuilder sb = new StringBuilder("phase: " + KitRunner.phase);
    for (StackTraceElement e : t.getStackTrace()) {
      if (e.getClassName().startsWith("org.apache.beam") && !e.getClassName().contains("vendor")) {
        sb.append("; at ").append(e);
        break;
      }
    }
    return sb.toString();
  }

  private static void dump() {
    Thread.getAllStackTraces()
        .forEach(
            (th, st) -> {
              System.out.println("  thread " + th.getName() + " " + th.getState());
              for (int i = 0; i < Math.min(st.length, 25); i++) {
                System.out.println("      " + st[i]);
              }
            });
  }

  private static void cancelJobs(ObjectNode r) throws InterruptedException {
    List<PipelineResult> jobs;
    synchronized (KitRunner.JOBS) {
      jobs = new ArrayList<>(KitRunner.JOBS);
    }
    r.put("jobs", jobs.size());
    Thread c =
        new Thread(
            () -> {
              for (PipelineResult p : jobs) {
                try {
                  PipelineResult.State before = p.getState();
                  if (!before.isTerminal()) {
                    r.put("job_state_at_timeout", before.toString());
                    r.put("state_after_cancel", String.valueOf(p.cancel()));
                    for (int i = 0; i < 30 && !p.getState().isTerminal(); i++) {
                      Thread.sleep(100);
                    }
                    r.put("state_3s_after_cancel", p.getState().toString());
                  }
                } catch (Throwable e) {
                  r.put("cancel_error", Reasons.firstLine(e.toString()));
                }
              }
            });
    c.setDaemon(true);
    c.start();
    c.join(10_000);
  }

  /** A test of a service whose client library is not here is left out: what it asks for is no matter of a runner. */
  private static void failOrSkip(ObjectNode r, Throwable e) {
    if (e instanceof NoClassDefFoundError && String.valueOf(e.getMessage()).startsWith("com/google/cloud/")) {
      r.put("status", "skip");
      r.put("reason", "needs a service of Google Cloud: " + e.getMessage().replace('/', '.'));
      return;
    }
    fail(r, e);
  }

  private static void fail(ObjectNode r, Throwable e) {
    StringWriter w = new StringWriter();
    e.printStackTrace(new PrintWriter(w));
    System.out.println(w);
    r.put("status", "fail");
    r.put("reason", Reasons.of(e));
    r.put("trace", w.toString().substring(0, Math.min(4000, w.toString().length())));
  }

  private Worker() {}
}
