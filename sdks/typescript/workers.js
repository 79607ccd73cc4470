// Workers in this process. They are the SDK's, which ends them well as long as all goes well.
"use strict";
const { asExternalEnvironment, TYPESCRIPT_DEFAULT_ENVIRONMENT_URN } = require("apache-beam/internal/environments");
const runnerApi = require("apache-beam/proto/beam_runner_api");
const { ExternalWorkerPool } = require("apache-beam/worker/external_worker_service");

const STOP_LIMIT_MS = 100;
const POLL_MS = 10;

/** The SDK's workers have nobody who listens for their errors, and such an error ends the process. */
class Listened extends Map {
  set(id, worker) {
    worker.controlChannel.on("error", () => {}); // the runner is gone, which the job's result tells
    return super.set(id, worker);
  }
}

class Workers extends ExternalWorkerPool {
  constructor() {
    super("127.0.0.1:0"); // not localhost, which is often two addresses: at the other may be another program
    this.workers = new Listened();
  }

  /** Resolves to HOST:PORT at which the runner asks for workers. */
  async start() {
    return (await super.start()).replace("localhost", "127.0.0.1");
  }

  /** Ends the service, and the workers that the runner does not end in time. */
  async stop() {
    for (const end = Date.now() + STOP_LIMIT_MS; this.workers.size && Date.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    this.workers.forEach((worker) => worker.stop());
    this.server.forceShutdown();
  }
}

/** Returns a pipeline whose code runs in the workers at an address. */
function runIn(address, pipeline) {
  const copy = runnerApi.Pipeline.clone(pipeline);
  for (const [id, environment] of Object.entries(copy.components.environments)) {
    if (environment.urn === TYPESCRIPT_DEFAULT_ENVIRONMENT_URN) {
      copy.components.environments[id] = asExternalEnvironment(environment, address);
    }
  }
  return copy;
}

module.exports = { Workers, runIn };
