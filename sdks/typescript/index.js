// A runner for Beam's TypeScript SDK: docs/typescript.md of the project.
"use strict";
require("apache-beam"); // first: its modules need one another in this order
const { JobState_Enum } = require("apache-beam/proto/beam_job_api");
const { PortableRunner } = require("apache-beam/runners/portable_runner/runner");
const { PharosResult } = require("./result");
const { SharedServer } = require("./server");
const { fits, OWN } = require("./version");
const { runIn, Workers } = require("./workers");

/** In every answer of a Pharos server (internal/server/jobserver/announce.go). */
const VERSION_HEADER = "pharos-version";
const GREET_LIMIT_MS = 60000;
const LOOPBACK = "LOOPBACK";
const OPTIONS = ["pharosEndpoint", "pharosBinary", "pharosMemory", "pharosDisk", "pharosData"];

/** Throws an Error if an option of this package is misspelt, or the endpoint is no address: nothing else would say so. */
function check(options) {
  const unknown = Object.keys(options).find((name) => name.startsWith("pharos") && !OPTIONS.includes(name));
  if (unknown) throw new Error(`there is no option ${unknown}; there are ${OPTIONS.join(", ")}`);
  const endpoint = options.pharosEndpoint || options.jobEndpoint;
  if (endpoint && !/^[^/\s]+:\d+$/.test(endpoint)) throw new Error(`the endpoint "${endpoint}" is not HOST:PORT`);
}

/** The SDK's portable runner, with a server where none is named, and the reason of a job that failed. */
class PharosRunner extends PortableRunner {
  /**
   * The SDK's runner keeps the first client that it made. So where no server is named, each pipeline has a runner of its own,
   * with its use of the server that they share.
   * @param options {import("./index").PharosOptions}
   * @param use one pipeline's, where no server is named
   * @throws an Error if an option is wrong
   */
  constructor(options, use) {
    check(options);
    const jobEndpoint = options.pharosEndpoint || options.jobEndpoint;
    super({ environmentType: LOOPBACK, ...options, ...(jobEndpoint && { jobEndpoint }) }, use);
    this.use = use;
    this.shared = jobEndpoint || use ? undefined : new SharedServer(options);
  }

  async getClient() {
    if (!this.shared) return super.getClient();
    if (!this.latest) throw new Error("the runner's server starts with its first pipeline");
    return this.latest.getClient();
  }

  /** HOST:PORT of the server, once there is one. */
  endpoint() {
    return this.defaultOptions.jobEndpoint;
  }

  async runPipeline(pipeline, options) {
    if (this.shared) {
      this.latest = new PharosRunner(this.defaultOptions, this.shared.use());
      return this.latest.runPipeline(pipeline, options);
    }
    const opened = [];
    const close = async () => {
      while (opened.length) await opened.pop().stop();
    };
    try {
      if (this.use) opened.push(this.use);
      await this.greet();
      if (this.defaultOptions.environmentType === LOOPBACK) {
        const workers = new Workers();
        const address = await workers.start();
        opened.push(workers);
        pipeline = runIn(address, pipeline);
        options = { ...options, environmentType: "EXTERNAL" }; // else the SDK starts workers
      }
      const { jobId } = await super.runPipeline(pipeline, options);
      return new PharosResult(this, jobId, close);
    } catch (e) {
      await close();
      throw e;
    }
  }

  /** Asks the server who it is, and fails if nobody answers, or a Pharos that this package does not fit. */
  async greet() {
    const client = await this.getClient(); // starts the server
    let headers;
    try {
      const call = client.describePipelineOptions({}, { timeout: GREET_LIMIT_MS });
      await call;
      headers = await call.headers;
    } catch (cause) {
      const what = `no job service answers at ${this.endpoint()} (is \`pharos serve\` running there?)`;
      throw new Error(`${what}: ${cause.message}`, { cause });
    }
    const theirs = headers[VERSION_HEADER];
    if (theirs === undefined) {
      console.warn(`the server at ${this.endpoint()} does not say that it is Pharos`);
    } else if (!fits(String(theirs))) {
      const both = `the server at ${this.endpoint()} is Pharos ${theirs}, and this is pharos-beam ${OWN}`;
      throw new Error(`${both}: use the one that fits the other`);
    }
  }

  /** Runs a pipeline and waits for its end; a drained job has done what it was to do. */
  async run(pipeline, options) {
    const result = await this.runAsync(pipeline, options);
    const state = await result.waitUntilFinish();
    if (state !== JobState_Enum.DONE && state !== JobState_Enum.DRAINED) {
      const reason = state === JobState_Enum.FAILED ? `: ${result.reason}` : "";
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
