import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import { TIMES as FOLLOWER } from "../dist/follower.js";
import { Refused, Tessera, Unavailable } from "../dist/index.js";
import { KeyStore } from "../dist/key-store.js";
import { TIMES as START } from "../dist/tessera.js";
import { FakeIssuer } from "../dist/testing.js";
import { FeedServer, TOKEN } from "./feed-server.js";

export { sleep };

/** The age at which knowledge is too old, in the tests that are about it. */
export const MAX_AGE = 3;

/**
 * How long a verifier waits for the server, in milliseconds. It is longer than `eventually` waits, so a test notices a
 * verifier that waits where it must not. On a busy machine nothing may happen for some seconds. A test that is about one of
 * these times sets it.
 */
const PATIENCE = 120_000;
FOLLOWER.silence = FOLLOWER.timeout = START.startWait = PATIENCE;
const { fetch } = KeyStore.prototype;
KeyStore.prototype.fetch = function (client, moment, _, isBackground) {
  return fetch.call(this, client, moment, PATIENCE, isBackground);
};

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
    const own = { issuer: server.url, audience: "tessera", feedToken: TOKEN, maxAge: 60, clock, warn, ...options, ...more };
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

/** Waits until the service is available, and judges. A busy machine can make it stale for a moment. */
export async function judgedInTheEnd(tessera, token) {
  let verdict;
  await eventually(async () => (verdict = await judged(tessera, token)) !== "unavailable");
  return verdict;
}

export function sidOf(token) {
  return JSON.parse(Buffer.from(token.split(".")[1], "base64url")).sid;
}
