// A `pharos serve` of this program's own, on free ports. Its standard input is a pipe from here, and it ends with that
// pipe: it does not outlive this process, however that ends.
"use strict";
const childProcess = require("child_process");
const fs = require("fs");
const os = require("os");
const path = require("path");

const START_LIMIT_MS = 30000;
const STOP_LIMIT_MS = 15000;
const POLL_MS = 10;
const TAIL_BYTES = 4096; // of its output, in an error

const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The program in the package for this platform; undefined where that is not installed. */
function installed() {
  const name = process.platform === "win32" ? "pharos.exe" : "pharos";
  try {
    return require.resolve(`pharos-beam-${process.platform}-${process.arch}/${name}`);
  } catch {
    return undefined;
  }
}

class LocalServer {
  /** @param options {import("./index").PharosOptions} */
  constructor(options) {
    this.program = options.pharosBinary || process.env.PHAROS_BINARY || installed() || "pharos";
    this.flags = [];
    if (options.pharosMemory) this.flags.push(`--memory=${options.pharosMemory}`);
    if (options.pharosDisk) this.flags.push(`--disk=${options.pharosDisk}`);
    if (options.pharosData) this.flags.push(`--data=${options.pharosData}`);
  }

  /** Starts the server; resolves to HOST:PORT of its Jobs API. */
  async start() {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "pharos-node-"));
    const ready = path.join(dir, "ready.json");
    const flags = ["serve", "--port=0", "--http-port=0", "--until-eof", "--log-level=warn", `--ready-file=${ready}`];
    this.tail = "";
    this.process = childProcess.spawn(this.program, [...flags, ...this.flags], { stdio: "pipe", detached: true });
    this.ended = new Promise((resolve) => {
      this.process.on("error", (e) => resolve(`cannot be started: ${e.message}`));
      this.process.on("exit", (code, signal) => resolve(`ended with ${signal || `exit code ${code}`}`));
    });
    this.ended.then((how) => (this.how = how));
    for (const output of [this.process.stdout, this.process.stderr]) {
      output.on("data", (data) => (this.tail = (this.tail + data).slice(-TAIL_BYTES)));
    }
    this.process.stdin.on("error", () => {}); // it has ended already
    try {
      return await this.awaitReady(ready);
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  }

  async awaitReady(ready) {
    for (const end = Date.now() + START_LIMIT_MS; !fs.existsSync(ready); await delay(POLL_MS)) {
      if (this.how) throw new Error(`pharos: ${this.program} ${this.how} ${this.tail}`.trim());
      if (Date.now() > end) {
        await this.stop();
        throw new Error(`pharos: ${this.program} is not ready after ${START_LIMIT_MS} ms: ${this.tail}`);
      }
    }
    return JSON.parse(fs.readFileSync(ready, "utf8")).job_endpoint;
  }

  /** Ends the server, and the jobs that it still has. */
  async stop() {
    if (!this.process) return; // its start failed before that
    this.process.stdin.end();
    const kill = setTimeout(() => this.process.kill("SIGKILL"), STOP_LIMIT_MS);
    await this.ended;
    clearTimeout(kill);
  }
}

/** A server for the pipelines of one runner: it starts with the first, and ends when none has a use for it. */
class SharedServer {
  constructor(options) {
    this.options = options;
  }

  /** One pipeline's use of the server, as the SDK starts and stops it. */
  use() {
    let server;
    let stopped; // the SDK stops it once for each who sees the job's end
    return {
      start: () => (server ??= this.take()).endpoint, // the SDK starts it once for each who asks before it is up
      stop: () => (stopped ??= this.release(server)),
    };
  }

  take() {
    const before = this.server;
    if (!before?.users || before.how) {
      const server = new LocalServer(this.options);
      server.users = 0;
      server.endpoint = Promise.resolve(before?.stopped).then(() => server.start()); // both may have one data folder
      this.server = server;
    }
    this.server.users++;
    return this.server;
  }

  async release(server) {
    if (--server.users > 0) return;
    server.stopped = server.stop();
    await server.stopped;
  }
}

module.exports = { SharedServer };
