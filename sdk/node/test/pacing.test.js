// How often a service asks a server that is away, busy or broken.
//
// A request is noted before it is answered, and the next one waits after the answer. So these are the shortest times that
// are possible, however busy this machine is. A timer of Node can be a millisecond early.

import assert from "node:assert/strict";
import { test } from "node:test";

import { TIMES as FOLLOWER } from "../dist/follower.js";
import { TIMES as START } from "../dist/tessera.js";
import { eventually, judged, world } from "./support.js";

const JWKS = "/.well-known/jwks.json";
const PAGE = "/auth/revocations";
const SNAPSHOT = "/auth/revocations/snapshot";
const STREAM = "/auth/revocations/stream";

function temporarily(context, object, name, value) {
  const before = object[name];
  object[name] = value;
  context.after(() => (object[name] = before));
}

/** Makes every random wait as long as it can be. */
function longestWaits(context) {
  context.mock.method(Math, "random", () => 0.999_999);
}

/** Waits for some more requests for a path, and returns the times between them, in milliseconds. */
async function waits(server, path, count) {
  const before = server.asked(path);
  await eventually(() => server.asked(path) >= before + count, 60_000);
  const times = server.timesOf(path).slice(before, before + count);
  return times.slice(1).map((time, index) => time - times[index]);
}

/** The waits are at least 0.2, 0.4, 0.8 seconds, and so on. */
function expectDoubling(found) {
  for (const [turn, wait] of found.entries()) assert.ok(wait >= 190 * 2 ** turn, String(found));
}

test("a server that is down is asked less and less often", async (context) => {
  longestWaits(context);
  const { server, make } = await world(context);
  await make().start();
  server.down = true;
  server.cut();
  // The first attempt follows the lost connection.
  expectDoubling((await waits(server, STREAM, 5)).slice(1));
});

test("a server that is down at the start is asked less and less often", async (context) => {
  longestWaits(context);
  temporarily(context, START, "startWait", 100);
  const { server, make } = await world(context);
  server.down = true;
  await make().start();
  expectDoubling((await waits(server, SNAPSHOT, 4)).slice(1));
});

test("keys that cannot be read are asked for with pauses, beside the stream", async (context) => {
  temporarily(context, START, "startWait", 100);
  const { server, make } = await world(context);
  [server.busy, server.busyPaths] = [{ status: 503, retryAfter: 0 }, [JWKS]];
  await make().start();
  // Each pause is half a second at least. These are intervals between requests that are sent, which can arrive late.
  assert.ok((await waits(server, JWKS, 5)).reduce((sum, wait) => sum + wait) >= 1_500);
});

test("a server that never goes on from a place is asked less and less often", async (context) => {
  longestWaits(context);
  const { server, make } = await world(context);
  await make().start();
  server.gone = true;
  server.cut();
  expectDoubling((await waits(server, STREAM, 5)).slice(1));
});

test("streams that end after one event are opened less and less often", async (context) => {
  longestWaits(context);
  const { server, make } = await world(context);
  await make().start();
  server.brief = true;
  server.cut();
  expectDoubling((await waits(server, STREAM, 5)).slice(1));
});

test("services do not come back together: each draws its own time, from a range that grows", async (context) => {
  const { make } = await world(context);
  const tessera = make();
  await tessera.start();
  const { follower } = tessera;
  for (const [failures, longest] of [[1, 200], [3, 800], [6, 5_000], [100, 5_000]]) {
    const drawn = Array.from({ length: 200 }, () => {
      follower.failures = failures;
      return follower.backoff();
    });
    assert.ok(drawn.every((wait) => wait >= 100 && wait <= longest));
    const spread = longest - 100;
    assert.ok(Math.min(...drawn) < 100 + 0.3 * spread && Math.max(...drawn) > 100 + 0.7 * spread);
  }
});

for (const status of [429, 503]) {
  test(`a busy server is asked after the time that it says (${status})`, async (context) => {
    const { server, make } = await world(context);
    const tessera = make();
    await tessera.start();
    server.busy = { status, retryAfter: 2 };
    server.cut();
    assert.ok((await waits(server, STREAM, 2))[0] >= 1_990);
    server.busy = undefined;
    await eventually(() => tessera.state === "fresh", 20_000);
  });
}

test("a time to wait that is too long is cut", async (context) => {
  temporarily(context, FOLLOWER, "longestRetry", 300);
  const { server, make } = await world(context);
  await make().start();
  server.busy = { status: 503, retryAfter: 86_400 };
  server.cut();
  assert.ok((await waits(server, STREAM, 2))[0] >= 290);
});

test("the times of a stale service are asked once a second, and later if the server says so", async (context) => {
  const { server, make } = await world(context, { maxAge: 0.5 });
  const tessera = make();
  await tessera.start();
  server.behind = 10_000;
  await eventually(() => tessera.state === "stale");
  // These are intervals between requests that are sent, which can arrive late. Three of them take three seconds.
  assert.ok((await waits(server, PAGE, 4)).reduce((sum, wait) => sum + wait) >= 2_000);
  [server.busy, server.busyPaths] = [{ status: 503, retryAfter: 3 }, [PAGE]];
  // The second request is sent after the first one arrived, and the third one three seconds after the second was sent.
  assert.ok((await waits(server, PAGE, 3)).reduce((sum, wait) => sum + wait) >= 2_900);
});

test("requests of a serverless function do not flood a server that is down", async (context) => {
  const { server, issuer, shift, make } = await world(context, { mode: "pull" });
  const tessera = make();
  const token = issuer.token();
  assert.equal(await judged(tessera, token), "accepted");
  server.down = true;
  shift.monotonic += 61_000;
  const [asked, began] = [server.requests.length, performance.now()];
  for (let turn = 0; turn < 200; turn += 1) assert.equal(await judged(tessera, token), "unavailable");
  // One attempt in a second.
  assert.ok(server.requests.length - asked <= 1 + (performance.now() - began) / 1000);
});
