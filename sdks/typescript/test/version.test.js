// The server's version: which fit, and what a server of another one leads to. NODE_PATH has the SDK.
"use strict";
const test = require("node:test");
const assert = require("node:assert");

require("../index"); // the SDK's modules need one another in this order
const grpc = require("@grpc/grpc-js");
const beam = require("apache-beam");
const { JobService, DescribePipelineOptionsRequest, DescribePipelineOptionsResponse } = require("apache-beam/proto/beam_job_api");
const { pharosRunner } = require("../index");
const { fits, OWN } = require("../version");

test("versions that fit", () => {
  for (const [server, client, fit] of [
    ["1.2.3", "1.0.0", true],
    ["2.0.0", "1.9.0", false],
    ["0.1.7", "v0.1.0", true],
    ["0.2.0", "0.1.0", false],
    ["1.0.0", "0.1.0", false],
    ["dev-0123", "0.1.0", true],
    ["v0.0.0-20261127010203-0123456789ab", "0.1.0", true],
  ]) {
    assert.strictEqual(fits(server, client), fit, `${server} and ${client}`);
  }
});

/** A job service of another version, which answers nothing else. */
function stranger(version) {
  const server = new grpc.Server();
  const definition = {
    path: `/${JobService.typeName}/DescribePipelineOptions`,
    requestStream: false,
    responseStream: false,
    requestDeserialize: (bytes) => DescribePipelineOptionsRequest.fromBinary(bytes),
    responseSerialize: (message) => Buffer.from(DescribePipelineOptionsResponse.toBinary(message)),
  };
  server.addService({ DescribePipelineOptions: definition }, {
    DescribePipelineOptions: (call, answer) => {
      const headers = new grpc.Metadata();
      headers.set("pharos-version", version);
      call.sendMetadata(headers);
      answer(null, DescribePipelineOptionsResponse.create());
    },
  });
  return new Promise((resolve, reject) =>
    server.bindAsync("localhost:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
      if (error) return reject(error);
      server.start();
      resolve({ server, endpoint: `localhost:${port}` });
    })
  );
}

test("a server of another version is named with this one", { timeout: 60000 }, async () => {
  const { server, endpoint } = await stranger("99.0.0");
  try {
    const run = pharosRunner({ pharosEndpoint: endpoint }).run((root) => root.apply(beam.create([1])));
    await assert.rejects(run, new RegExp(`is Pharos 99.0.0, and this is pharos-beam ${OWN}`));
  } finally {
    server.forceShutdown();
  }
});
