// A runner for Beam's TypeScript SDK: docs/typescript.md of the project.
"use strict";
require("apache-beam"); // first: its modules need one another in this order
const { JobMessage_MessageImportance, JobState_Enum } = require("apache-beam/proto/beam_job_api");
const { PortableRunner } = require("apache-beam/runners/portable_runner/runner");
const { SharedServer } = require("./server");
const { fits, OWN } = require("./version");

/** In every answer of a Pharos server (internal/server/jobserver/announce.go). */
const VERSION_HEADER = "pharos-version";
const NO_REASON = "the runner gave no reason";

/** The SDK's portable runner, with a server where none is named, and the reason of a job that failed. */
class PharosRunner extends PortableRunner {
  /**
   * The SDK's runner keeps the first client that it made, and ends the server with any job. So where no server is named,
   * each pipeline has a runner of its own, with its use of the server that they share.
   * @param options {import("./index").PharosOptions}
   * @param use one pipeline's, where no server is named
   */
  constructor(options, use) {
    const jobEndpoint = options.pharosEndpoint || options.jobEndpoint;
    super({ environmentType: "LOOPBACK", ...options, ...(jobEndpoint && { jobEndpoint }) }, use);
    this.use = use;
    this.shared = jobEndpoint || use ? undefined : new SharedServer(options);
  }

  async getClient() {
    if (!this.shared) return super.getClient();
    if (!this.latest) throw new Error("the runner's server starts with its first pipeline");
    return this.latest.getClient();
  }

  async runPipeline(pipeline, options) {
    if (this.shared) {
      this.latest = new PharosRunner(this.defaultOptions, this.shared.use());
      return this.latest.runPipeline(pipeline, options);
    }
    let result;
    try {
      await this.getClient(); // starts the server; were there none, the SDK would leave its workers behind
      await this.greet();
      result = await super.runPipeline(pipeline, options);
    } catch (e) {
      await this.use?.stop();
      throw e;
    }
    result.said = this.lastError(result.jobId);
    return result;
  }

  /** Asks the server who it is, and fails if it is a Pharos that this package does not fit. */
  async greet() {
    const call = (await this.getClient()).describePipelineOptions({});
    await call; // fails if nobody answers
    const theirs = (await call.headers)[VERSION_HEADER];
    if (theirs === undefined) {
      console.warn("the server does not say that it is Pharos");
    } else if (!fits(String(theirs))) {
      throw new Error(`the server is Pharos ${theirs}, and this is pharos-beam ${OWN}: use the one that fits the other`);
    }
  }

  /** Reads what a job says to its end; resolves to its last error. */
  async lastError(jobId) {
    let last = NO_REASON;
    try {
      const call = (await this.getClient()).getMessageStream({ jobId });
      for await (const { response } of call.responses) {
        const message = response.oneofKind === "messageResponse" ? response.messageResponse : undefined;
        if (message?.importance === JobMessage_MessageImportance.JOB_MESSAGE_ERROR) last = message.messageText;
      }
    } catch (e) {
      if (last === NO_REASON) last = `lost the job's messages: ${e.message}`;
    }
    return last;
  }

  /** Runs a pipeline and waits for its end; a drained job has done what it was to do. */
  async run(pipeline, options) {
    const result = await this.runAsync(pipeline, options);
    const state = await result.waitUntilFinish();
    if (state !== JobState_Enum.DONE && state !== JobState_Enum.DRAINED) {
      const reason = state === JobState_Enum.FAILED ? `: ${await result.said}` : "";
      throw new Error(`Job ${result.jobId} is ${JobState_Enum[state]}${reason}`);
    }
    return result;
  }
}

/** Makes a runner that runs pipelines on Pharos. */
function pharosRunner(options = {}) {
  return new PharosRunner(options);
}

module.exports = { PharosRunner, pharosRunner };
