package io.github.pharosbeam;

import java.util.Iterator;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobMessage;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobMessagesResponse;
import org.apache.beam.model.jobmanagement.v1.JobApi.JobState;
import org.apache.beam.sdk.Pipeline.PipelineExecutionException;
import org.apache.beam.sdk.PipelineResult;
import org.apache.beam.sdk.metrics.MetricResults;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.StatusRuntimeException;
import org.joda.time.Duration;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A job on Pharos.
 *
 * <p>A thread of its own follows the job: it logs what the job says, and once the job has ended it fetches the last metrics and
 * releases what was started for the job. State and metrics stay known after that, though the server may be gone.
 */
public final class PharosPipelineResult implements PipelineResult {
  private static final Logger LOG = LoggerFactory.getLogger(PharosPipelineResult.class);

  private static final long BREAK_PAUSE_MS = 500;

  private static final String NO_REASON = "the runner gave no reason";

  private final String jobId;
  private final JobService jobs;
  private final JobMetrics metrics;
  private final Resources resources;
  private final int patienceS;
  private final Thread hook = new Thread(this::abandon, "pharos-shutdown");
  private final CountDownLatch ended = new CountDownLatch(1);

  // Written by the following thread before it counts the latch down.
  private JobState.Enum end;
  private RuntimeException lost;
  private MetricResults lastMetrics;

  // Of the following thread alone.
  private String lastError = NO_REASON;
  private int messagesSeen;
  private boolean heard; // anything from the stream that is open

  private PharosPipelineResult(String jobId, JobService jobs, JobMetrics metrics, Resources resources, int patienceS) {
    this.jobId = jobId;
    this.jobs = jobs;
    this.metrics = metrics;
    this.resources = resources;
    this.patienceS = patienceS;
  }

  /**
   * Starts to follow a job.
   *
   * @param resources released when the job has ended
   * @param patienceS for how many seconds the server may be gone before the job counts as lost
   * @param needsUs whether the job cannot go on without this JVM
   */
  static PharosPipelineResult follow(
      String jobId, JobService jobs, JobMetrics metrics, Resources resources, int patienceS, boolean needsUs) {
    PharosPipelineResult r = new PharosPipelineResult(jobId, jobs, metrics, resources, patienceS);
    if (needsUs) {
      Runtime.getRuntime().addShutdownHook(r.hook);
    }
    Thread t = new Thread(r::followToTheEnd, "pharos-" + jobId);
    t.setDaemon(!needsUs);
    t.start();
    return r;
  }

  private void followToTheEnd() {
    try {
      end = awaitEnd();
      lastMetrics = metrics.read(jobs.metrics(jobId));
    } catch (RuntimeException e) {
      if (end == null) {
        lost = e;
        LOG.error("{}", e.getMessage()); // perhaps nobody waits for the job
      } else {
        LOG.warn("the metrics of job {} are lost", jobId, e);
      }
    } finally {
      removeHook();
      resources.close();
      ended.countDown();
    }
  }

  private void removeHook() {
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      LOG.debug("the JVM is ending already", e);
    }
  }

  /** The JVM ends before the job, which cannot go on without it. */
  private void abandon() {
    try {
      jobs.cancel(jobId);
    } catch (RuntimeException e) {
      LOG.debug("cannot cancel job {}", jobId, e);
    }
    resources.close();
  }

  /** Follows the messages to the last state, also over a restart of a server that keeps its jobs. */
  private JobState.Enum awaitEnd() {
    long lostAt = 0;
    while (true) {
      RuntimeException why = null;
      heard = false;
      try {
        JobState.Enum last = readMessages();
        if (terminal(last)) {
          return last;
        }
      } catch (StatusRuntimeException e) {
        why = e;
      }
      if (lostAt == 0 || heard) {
        lostAt = System.nanoTime() + TimeUnit.SECONDS.toNanos(patienceS);
      }
      if (System.nanoTime() >= lostAt) {
        throw new PharosException("lost job " + jobId + ": the server at " + jobs.endpoint() + " does not answer", why);
      }
      pause();
    }
  }

  private static void pause() {
    try {
      Thread.sleep(BREAK_PAUSE_MS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new PharosException("interrupted", e);
    }
  }

  /** Reads the stream to its end and returns the last state in it. A stream that is opened again begins with what is known. */
  private JobState.Enum readMessages() {
    JobState.Enum last = JobState.Enum.UNSPECIFIED;
    int n = 0;
    for (Iterator<JobMessagesResponse> it = jobs.messages(jobId); it.hasNext(); ) {
      JobMessagesResponse r = it.next();
      heard = true;
      if (r.hasStateResponse()) {
        last = r.getStateResponse().getState();
      }
      if (++n > messagesSeen) {
        messagesSeen = n;
        log(r);
      }
    }
    return last;
  }

  private void log(JobMessagesResponse r) {
    if (r.hasStateResponse()) {
      LOG.info("job {} is {}", jobId, r.getStateResponse().getState());
      return;
    }
    JobMessage m = r.getMessageResponse();
    switch (m.getImportance()) {
      case JOB_MESSAGE_ERROR:
        lastError = m.getMessageText();
        LOG.error("job {}: {}", jobId, m.getMessageText());
        break;
      case JOB_MESSAGE_WARNING:
        LOG.warn("job {}: {}", jobId, m.getMessageText());
        break;
      case JOB_MESSAGE_DEBUG:
      case JOB_MESSAGE_DETAILED:
        LOG.debug("job {}: {}", jobId, m.getMessageText());
        break;
      default:
        LOG.info("job {}: {}", jobId, m.getMessageText());
    }
  }

  /** The id by which the server knows the job. */
  public String getJobId() {
    return jobId;
  }

  /** The state in the words of the Jobs API, which has more of them: DRAINED, for one. */
  public JobState.Enum getJobState() {
    if (ended.getCount() > 0) {
      return jobs.state(jobId);
    }
    if (lost != null) {
      throw lost;
    }
    return end;
  }

  /** The state; a drained job is DONE. */
  @Override
  public State getState() {
    return state(getJobState());
  }

  static State state(JobState.Enum s) {
    switch (s) {
      case DONE:
      case DRAINED:
        return State.DONE;
      case FAILED:
        return State.FAILED;
      case CANCELLED:
        return State.CANCELLED;
      case UPDATED:
        return State.UPDATED;
      case STOPPED:
        return State.STOPPED;
      case STARTING:
      case RUNNING:
      case DRAINING:
      case CANCELLING:
      case UPDATING:
        return State.RUNNING;
      case UNSPECIFIED:
        return State.UNKNOWN;
      default:
        return State.UNRECOGNIZED;
    }
  }

  /** Whether a job's state is its last; STOPPED is the state before the start (beam_job_api.proto). */
  static boolean terminal(JobState.Enum s) {
    switch (s) {
      case DONE:
      case DRAINED:
      case FAILED:
      case CANCELLED:
      case UPDATED:
        return true;
      default:
        return false;
    }
  }

  /** Stops the job at once. */
  @Override
  public State cancel() {
    return ended.getCount() == 0 ? getState() : state(jobs.cancel(jobId));
  }

  /** Lets the job finish what it has read, and read no more. */
  public State drain() {
    return ended.getCount() == 0 ? getState() : state(jobs.drain(jobId));
  }

  @Override
  public State waitUntilFinish() {
    return waitUntilFinish(Duration.ZERO);
  }

  /**
   * Waits for the job's end.
   *
   * @param limit how long; forever when it is shorter than a millisecond
   * @return the last state, or null if the job still runs after that time
   * @throws PipelineExecutionException if the job failed; its cause is a {@link JobFailedException}
   * @throws PharosException if the server does not answer any more; or if this thread is interrupted, which does not end the job
   */
  @Override
  public State waitUntilFinish(Duration limit) {
    try {
      if (limit.getMillis() < 1) {
        ended.await();
      } else if (!ended.await(limit.getMillis(), TimeUnit.MILLISECONDS)) {
        return null;
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new PharosException("interrupted while waiting for job " + jobId, e);
    }
    State state = getState();
    if (state == State.FAILED) {
      throw new PipelineExecutionException(new JobFailedException(jobId, lastError));
    }
    return state;
  }

  /** The metrics of now, or of the end: attempted ones, and committed ones, which count each element exactly once. */
  @Override
  public MetricResults metrics() {
    if (ended.getCount() > 0) {
      return metrics.read(jobs.metrics(jobId));
    }
    if (lastMetrics == null) {
      throw new PharosException("the metrics of job " + jobId + " could not be fetched when it ended");
    }
    return lastMetrics;
  }
}
