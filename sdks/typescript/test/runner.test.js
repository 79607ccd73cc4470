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

const needs = { skip: process.env.PHAROS_BINARY ? false : "PHAROS_BINARY names no program", timeout: 120000 };

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

// Two who wait for one job's end are one use: the other job, whose end nobody has seen yet, keeps the server.
test("the end of a job leaves the server to the other", needs, async () => {
  const runner = pharosRunner();
  const one = await runner.runAsync(squares([1]));
  const other = await runner.runAsync(squares([2]));
  const server = runner.shared.server;
  await Promise.all([one.waitUntilFinish(), one.waitUntilFinish()]);
  assert.ok(!server.how, "the first job's end has ended the server");
  assert.strictEqual(await other.waitUntilFinish(), JobState_Enum.DONE);
  assert.ok(server.how);
});

// Whatever the runner left open would keep that program from its end.
test("a program ends after one runner's pipelines", needs, async () => {
  const program = `
    const { pharosRunner } = require(${JSON.stringify(require.resolve("../index"))});
    const beam = require("apache-beam");
    const runner = pharosRunner();
    const run = () => runner.run((root) => root.apply(beam.create([1])));
    run().then(() => Promise.all([run(), run()])).then(() => console.log("all", "done"));`;
  const { stdout } = await promisify(execFile)(process.execPath, ["-e", program], { timeout: 60000 });
  assert.match(stdout, /all done/);
});

test("no program", async () => {
  const run = pharosRunner({ pharosBinary: "/nowhere" }).run((root) => root.apply(beam.create([1])));
  await assert.rejects(run, /\/nowhere cannot be started/);
});

test("a program that does not serve", needs, async () => {
  const run = pharosRunner({ pharosMemory: "lots" }).run((root) => root.apply(beam.create([1])));
  await assert.rejects(run, /exit code 2[^]*memory/);
});

test("other runners stay", () => {
  assert.throws(() => createRunner({ runner: "nobody" }), /Unknown runner/);
});
