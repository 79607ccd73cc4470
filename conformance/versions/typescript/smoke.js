// One small pipeline for each thing that a version of Beam's TypeScript SDK and Pharos have to agree about. Prints a line for
// each case: its name, a tab, and `ok` or the error. NODE_PATH has the SDK.
"use strict";
const beam = require("apache-beam");
const combiners = require("apache-beam/transforms/combiners");
const pardo = require("apache-beam/transforms/pardo");
const windowings = require("apache-beam/transforms/windowings");
const { withName } = require("apache-beam/transforms");
const { reshuffle } = require("apache-beam/transforms/utils");
const { assertDeepEqual } = require("apache-beam/testing/assert");
const Long = require("long");
const { pharosRunner } = require("../../../sdks/typescript");

// The SDK sends functions with what they close over, which its compiler lists where there is one.
console.log = console.info = console.debug = console.error; // of the SDK; results go to the standard output
const closed = (f, values = {}) => Object.assign(f, { __closure: () => values });
const run = (build) => pharosRunner().run(build);

const first = closed((s) => s[0]);
const same = closed((x) => x);
const constant = closed(() => "k");

const cases = {
  group_by_key: () =>
    run((root) =>
      root
        .apply(beam.create(["a1", "b1", "a2"]))
        .apply(beam.groupBy(first))
        .map(withName("sorted", closed((kv) => ({ key: kv.key, values: Array.from(kv.value).sort() }))))
        .apply(assertDeepEqual([{ key: "a", values: ["a1", "a2"] }, { key: "b", values: ["b1"] }]))
    ),

  combine: () =>
    run((root) =>
      root
        .apply(beam.create([{ k: "a", n: 1 }, { k: "b", n: 2 }, { k: "a", n: 3 }]))
        .apply(beam.groupBy("k").combining("n", combiners.sum, "sum"))
        .apply(assertDeepEqual([{ k: "a", sum: 4 }, { k: "b", sum: 2 }]))
    ),

  side_inputs: () =>
    run((root) => {
      const side = root.apply(withName("side", beam.create([5, 6])));
      root
        .apply(beam.create([1])) // one only: the SDK hands out a generator, which can be read once
        .map(withName("add", closed((x, c) => x + Array.from(c.side.lookup()).reduce((a, b) => a + b, 0))), {
          side: pardo.iterableSideInput(side),
        })
        .apply(assertDeepEqual([12]));
    }),

  windows: () =>
    run((root) =>
      root
        .apply(beam.create([0, 4, 11]))
        .apply(beam.assignTimestamps(closed((t) => Long.fromValue(t * 1000), { Long })))
        .apply(beam.windowInto(windowings.fixedWindows(10)))
        .apply(beam.groupBy(constant, "k").combining(same, combiners.sum, "sum"))
        .map(closed((r) => r.sum))
        .apply(beam.windowInto(windowings.globalWindows()))
        .apply(assertDeepEqual([4, 11]))
    ),

  failure: async () => {
    const fails = closed((x) => {
      throw new Error("boom " + x);
    }, { Error });
    try {
      await run((root) => root.apply(beam.create([7])).map(fails));
    } catch (e) {
      if (!e.message.includes("boom 7")) throw e;
      return;
    }
    throw new Error("the job did not fail");
  },

  metrics: async () => {
    const result = await run((root) =>
      root.apply(beam.create([1, 2, 3])).map(
        withName("measure", pardo.withContext(
          closed((x, c) => {
            c.elements.increment(1);
            c.sizes.update(x);
            return x;
          }),
          { elements: pardo.counter("elements"), sizes: pardo.distribution("sizes") }
        ))
      )
    );
    const { elements } = await result.counters();
    const { sizes } = await result.distributions();
    if (elements !== 3 || sizes.sum !== 6) throw new Error(`counter ${elements}, distribution ${JSON.stringify(sizes)}`);
  },

  outputs_and_reshuffle: () =>
    run((root) => {
      const more = root.apply(withName("more", beam.create([3])));
      beam
        .P([root.apply(beam.create([1, 2])), more])
        .apply(beam.flatten())
        .apply(reshuffle())
        .apply(assertDeepEqual([1, 2, 3]));
    }),
};

async function main(names) {
  let failed = false;
  for (const [name, run] of Object.entries(cases)) {
    if (names.length > 0 && !names.includes(name)) continue;
    let outcome = "ok";
    try {
      await run();
    } catch (e) {
      console.error(e);
      outcome = String(e).split("\n")[0];
      failed = true;
    }
    process.stdout.write(`${name}\t${outcome}\n`);
  }
  process.exit(failed ? 1 : 0);
}

main(process.argv.slice(2));
