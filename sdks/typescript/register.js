// Lets the SDK's createRunner know the runner "pharos". Load it before the program: node -r pharos-beam/register main.js
"use strict";
const { pharosRunner } = require("./index");
const runners = require("apache-beam/runners/runner");

const createRunner = runners.createRunner;

runners.createRunner = (options = {}) => (options.runner === "pharos" ? pharosRunner(options) : createRunner(options));
