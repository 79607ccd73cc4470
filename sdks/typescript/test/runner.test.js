// Pipelines on a server that the runner starts: PHAROS_BINARY names it. NODE_PATH has the SDK.
"use strict";
const test = require("node:test");
const assert = require("node:assert");

require("../register");
const beam = require("apache-beam");
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
