// Loaded into the npm servers, so that two runs of one server say the same:
// what is left to compare is what a proxy does to it.
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";

// Times of day are part of resources, tasks and file listings.
for (const name of ["toString", "toISOString", "toLocaleTimeString", "toJSON"]) {
  Date.prototype[name] = () => "2026-01-02T03:04:05.000Z";
}

// Task ids are random bytes; simulated log messages are chosen at random.
let made = 0;
crypto.randomBytes = (size) => {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32BE(++made, 0);
  return bytes;
};
syncBuiltinESMExports();
Math.random = () => 0.5;

// Simulated work takes seconds. Long timers are time-outs and stay.
const later = globalThis.setTimeout;
globalThis.setTimeout = (run, ms, ...rest) => later(run, ms <= 10_000 ? ms / 20 : ms, ...rest);
