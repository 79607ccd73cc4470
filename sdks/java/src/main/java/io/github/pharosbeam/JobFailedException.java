package io.github.pharosbeam;

/**
 * A job failed. The message is the runner's own: it names the transform and holds the stack trace of the exception that the
 * pipeline's code threw.
 */
public class JobFailedException extends Exception {
  private static final long serialVersionUID = 1;

  private final String jobId;

  JobFailedException(String jobId, String reason) {
    super("job " + jobId + " failed: " + reason);
    this.jobId = jobId;
  }

  /** The id by which the server knows the job. */
  public String getJobId() {
    return jobId;
  }
}
