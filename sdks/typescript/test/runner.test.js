// Pipelines on a server that the runner starts: PHAROS_BINARY names it. NODE_PATH has the SDK.
"use strict";
const test = require("node:test");
const assert = require("node:assert");
const { execFile } = require("node:child_process");
const { promisify } = require("node:util");

require("../register");
const beam = require("apache-beam");
const { JobState_Enum } = require("apache-beam/proto/beam_job_api");
const { createRunner } = require("apache-beam/runners/runner");
const { pharosRunner, PharosRunner } = require("../index");

const needs = { skip: process.env.PHAROS_BINARY ? false : "PHAROS_BINARY names no program", timeout: 300000 };

// The SDK sends functions with what they close over, which its compiler lists here.
const closed = (f, values) => Object.assign(f, { __closure: () => values });

const fails = closed((x) => {
  throw new Error("boom " + x);
}, { Error });

test("a pipeline", needs, async () => {
  const runner = createRunner({ runner: "pharos" });
  assert.ok(runner instanceof PharosRunner);
  const result = await runner.run((root) => root.apply(beam.create([1, 2])).map(closed((x) => x * x, {})));
  assert.ok(result.jobId);
});

test("a failure has its reason", needs, async () => {
  const run = pharosRunner().run((root) => root.apply(beam.create([7])).map(fails));
  await assert.rejects(run, /FAILED: [^]*boom 7/);
});

const squares = (values) => (root) => root.apply(beam.create(values)).map(closed((x) => x * x, {}));

test("one runner in sequence", needs, async () => {
  const runner = pharosRunner();
  const first = await runner.run(squares([1, 2]));
  const server = runner.shared.server;
  assert.ok(server.how, "the server outlives its only job");
  const second = await runner.run(squares([3]));
  assert.ok(first.jobId && second.jobId);
  assert.notStrictEqual(runner.shared.server, server);
  assert.ok(runner.shared.server.how);
});

test("one runner after a failure", needs, async () => {
  const runner = pharosRunner();
  await assert.rejects(runner.run((root) => root.apply(beam.create([7])).map(fails)), /boom 7/);
  assert.ok((await runner.run(squares([1]))).jobId);
});

test("one runner at once", needs, async () => {
  const runner = pharosRunner();
  const results = await Promise.all([[1, 2], [3], [4]].map((values) => runner.run(squares(values))));
  assert.strictEqual(new Set(results.map((result) => result.jobId)).size, 3);
  assert.ok(runner.shared.server.how, "the server outlives its jobs");
});

test("the end of a job leaves the server to the other", needs, async () => {
  const runner = pharosRunner();
  const one = await runner.runAsync(squares([1]));
  const server = runner.shared.server;
  const other = runner.shared.use();
  await other.start();
  await Promise.all([one.waitUntilFinish(), one.waitUntilFinish()]);
  assert.ok(!server.how, "the first job's end has ended the server");
  await other.stop();
  assert.ok(server.how);
});

/** Runs a program of ours; resolves to how it ended. Killed by the time limit it has no exit code. */
function runs(body) {
  const program = `
    const { pharosRunner } = require(${JSON.stringify(require.resolve("../index"))});
    const beam = require("apache-beam");
    const { requireForSerialization } = require("apache-beam/serialization");
    const closed = (f, values) => Object.assign(f, { __closure: () => values });
    const runner = pharosRunner();
    ${body}`;
  return promisify(execFile)(process.execPath, ["-e", program], { timeout: 120000 }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );
}

// Whatever the runner left open would keep that program from its end.
test("a program ends after one runner's pipelines", needs, async () => {
  const { code, stdout } = await runs(`
    const run = () => runner.run((root) => root.apply(beam.create([1])));
    run().then(() => Promise.all([run(), run()])).then(() => console.log("all", "done"));`);
  assert.match(stdout, /all done/);
  assert.strictEqual(code, 0);
});

const kills = `
  const kill = () => runner.shared.server.process.kill("SIGKILL");
  requireForSerialization("kills", { kill });
  const run = (how) => runner[how]((root) =>
    root.apply(beam.create([1])).map(beam.withName("kill", closed(() => kill(), { kill }))));`;
const lost = /lost job \S+: the server at 127\.0\.0\.1:\d+ does not answer/;

test("a server that dies is an error, and the program ends", needs, async () => {
  const caught = await runs(`${kills} run("run").catch((e) => { console.log("caught", e.message); process.exitCode = 3; });`);
  assert.strictEqual(caught.code, 3, caught.stderr);
  assert.match(caught.stdout, new RegExp(`caught ${lost.source}`));
  const uncaught = await runs(`${kills} run("run");`);
  assert.strictEqual(uncaught.code, 1);
  assert.match(uncaught.stderr, new RegExp(`Error: ${lost.source}`));
});

test("a server that dies ends a program that does not wait", needs, async () => {
  const { code, stderr } = await runs(`${kills} run("runAsync");`);
  assert.strictEqual(code, 0, stderr);
  assert.match(stderr, lost);
});

const restarts = `
  const fs = require("fs"), path = require("path"), { spawn } = require("child_process");
  const dir = fs.mkdtempSync(path.join(require("os").tmpdir(), "pharos-test-"));
  let server, runs = 0;
  async function serve(port) {
    const ready = path.join(dir, "ready.json");
    fs.rmSync(ready, { force: true });
    const flags = ["--port=" + port, "--http-port=0", "--until-eof", "--ready-file=" + ready, "--data=" + path.join(dir, "data")];
    server = spawn(process.env.PHAROS_BINARY, ["serve", ...flags], { stdio: ["pipe", "ignore", "ignore"] });
    while (!fs.existsSync(ready)) await new Promise((resolve) => setTimeout(resolve, 10));
    return JSON.parse(fs.readFileSync(ready, "utf8")).job_endpoint;
  }
  let endpoint;
  const restart = () => {
    if (runs++ > 0) return "done";
    server.on("exit", () => serve(endpoint.split(":")[1]));
    server.kill("SIGKILL");
  };
  requireForSerialization("restarts", { restart });
  serve(0).then((e) => pharosRunner({ pharosEndpoint: (endpoint = e) }).run((root) =>
      root.apply(beam.create([1])).map(beam.withName("restart", closed(() => restart(), { restart })))))
    .then(() => console.log("runs", runs))
    .finally(() => {
      server.stdin.end();
      server.on("exit", () => fs.rmSync(dir, { recursive: true }));
    });`;

test("a job goes on when its server is started again", needs, async () => {
  const { code, stdout, stderr } = await runs(restarts);
  assert.strictEqual(code, 0, stderr);
  assert.match(stdout, /runs 2/);
});

test("a program that does not wait ends with its job", needs, async () => {
  const { code, stderr } = await runs(`runner.runAsync((root) => root.apply(beam.create([1])));`);
  assert.strictEqual(code, 0, stderr);
});

test("a refused pipeline leaves nothing open", needs, async () => {
  const { code, stdout } = await runs(`
    pharosRunner({ maxAttempts: 1000 }).run((root) => root.apply(beam.create([1]))).catch((e) => console.log("caught", e.message));`);
  assert.match(stdout, /caught [^]*max_attempts/);
  assert.strictEqual(code, 0);
});

test("nobody at the endpoint", async () => {
  const run = pharosRunner({ pharosEndpoint: "127.0.0.1:1" }).run((root) => root.apply(beam.create([1])));
  await assert.rejects(run, /no job service answers at 127.0.0.1:1 \(is `pharos serve` running there\?\)/);
});

test("options that are wrong", () => {
  for (const option of ["pharosEndpoint", "jobEndpoint"]) {
    assert.throws(() => createRunner({ runner: "pharos", [option]: "localhost" }), /the endpoint "localhost" is not HOST:PORT/);
  }
  assert.throws(() => pharosRunner({ pharosMemroy: "1GiB" }), /there is no option pharosMemroy; there are .*pharosMemory/);
  pharosRunner({ pharosEndpoint: "[::1]:8073", jobName: "words" });
});

test("no program", async () => {
  const run = pharosRunner({ pharosBinary: "/nowhere" }).run((root) => root.apply(beam.create([1])));
  await assert.rejects(run, /\/nowhere cannot be started/);
});

test("a program that does not serve", needs, async () => {
  for (const [option, flag] of [["pharosMemory", /exit code 2[^]*--memory/], ["pharosDisk", /exit code 2[^]*--disk/]]) {
    const run = pharosRunner({ [option]: "lots" }).run((root) => root.apply(beam.create([1])));
    await assert.rejects(run, flag);
  }
});

test("other runners stay", () => {
  assert.throws(() => createRunner({ runner: "nobody" }), /Unknown runner/);
});
