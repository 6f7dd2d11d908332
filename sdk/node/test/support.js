import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { Refused, Tessera, Unavailable } from "../dist/index.js";
import { FakeIssuer } from "../dist/testing.js";
import { FeedServer, TOKEN } from "./feed-server.js";

export { sleep };

/** The age at which knowledge is too old. A busy machine must need less time between two lines of a test. */
export const MAX_AGE = 3;

/** Waits until something holds. Only a test that fails waits for so long. */
export async function eventually(holds, milliseconds = 60_000) {
  const end = Date.now() + milliseconds;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `it did not happen: ${holds}`);
    await sleep(10);
  }
}

/** A server, an issuer whose keys it publishes, and verifiers of it. */
export async function world(context, options = {}) {
  const server = await new FeedServer().start();
  const issuer = new FakeIssuer(server.url);
  const publish = () => (server.keys = issuer.jwks().keys);
  publish();
  const shift = { monotonic: 0, wall: 0 };
  const clock = () => ({ monotonic: performance.now() + shift.monotonic, wall: Date.now() + shift.wall });
  const warnings = [];
  const warn = (message) => warnings.push(message);
  const made = [];
  const make = (more = {}) => {
    const own = { issuer: server.url, audience: "tessera", feedToken: TOKEN, clock, warn, ...options, ...more };
    made.push(new Tessera(own, {}));
    return made.at(-1);
  };
  context.after(() => {
    for (const tessera of made) tessera.stop();
    server.stop();
  });
  return { server, issuer, publish, shift, warnings, make };
}

/** The reason of the refusal, `unavailable` or `accepted`. */
export async function judged(tessera, token) {
  try {
    return (await tessera.verify(token)).stale ? "stale" : "accepted";
  } catch (error) {
    if (error instanceof Refused) return error.reason;
    if (error instanceof Unavailable) return "unavailable";
    throw error;
  }
}

export function sidOf(token) {
  return JSON.parse(Buffer.from(token.split(".")[1], "base64url")).sid;
}
