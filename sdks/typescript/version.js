// The version of this package, and which servers it fits.
"use strict";
const OWN = require("./package.json").version;

/** What versions that fit have in common; undefined for a build between versions, which Go calls 0.0. */
function line(version) {
  const [, major, minor] = /^v?(\d+)\.(\d+)\.\d+/.exec(version) || [];
  if (major !== "0") return major;
  return minor === "0" ? undefined : `0.${minor}`;
}

/**
 * Whether a server of a version understands this package: they have the same major number, and before 1.0 the same minor
 * number as well. A build without a version fits everything: whoever made it knows.
 */
function fits(server, own = OWN) {
  const [theirs, ours] = [line(server), line(own)];
  return theirs === undefined || ours === undefined || theirs === ours;
}

module.exports = { OWN, fits };
