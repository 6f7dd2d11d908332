// The vectors, on which the verifiers of all languages agree. The crate `tessera-verify` writes them.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Claims } from "../dist/claims.js";
import { Feed, LostEventError, parseEvent, parseSnapshot } from "../dist/feed.js";
import { KeyStore } from "../dist/key-store.js";
import { parseJwks } from "../dist/keys.js";
import { hashOf, RevocationList } from "../dist/list.js";
import { Refused } from "../dist/refusal.js";
import { Verifier } from "../dist/verifier.js";
import { hexOf } from "./feed-server.js";

const read = (name) => JSON.parse(readFileSync(new URL(`../../vectors/${name}`, import.meta.url), "utf8"));
const [tokens, feeds, mutations] = [read("tokens.json"), read("feeds.json"), read("mutations.json")];
const decoded = (text) => Buffer.from(text, "base64");

async function checkTokens(cases, keys) {
  const verifier = new Verifier(tokens.issuer, [tokens.audience], tokens.leeway);
  for (const { name, token, reason } of cases) {
    const got = await verifier.verify(token, keys, () => tokens.now).then(() => null, (error) => {
      assert.ok(error instanceof Refused, error);
      return error.reason;
    });
    assert.equal(got, reason, name);
  }
}

test("tokens of a secret", async () => {
  const { secret, tokens: cases } = tokens.with_secret;
  await checkTokens(cases, new KeyStore(secret).current({ monotonic: 0, wall: 0 }));
});

test("tokens of published keys", async () => {
  const { jwks, tokens: cases } = tokens.with_jwks;
  await checkTokens(cases, await parseJwks(Buffer.from(JSON.stringify(jwks))));
});

const objectOf = (members) => `{${members.map(([name, text]) => `"${name}":${text}`).join(",")}}`;

for (const part of ["header", "claims"]) {
  test(`odd values of each member: ${part}`, async () => {
    const keys = new KeyStore(mutations.secret).current({ monotonic: 0, wall: 0 });
    const verifier = new Verifier(mutations.issuer, [mutations.audience], 2);
    const [wrong, all] = [[], Object.entries(mutations[part === "header" ? "headers_with" : "claims_with"])];
    const cases = all.flatMap(([name, values]) => Object.entries(values).map(([value, expected]) => [name, value, expected]));
    for (const [name, value, expected] of cases) {
      // The member with the other value comes last.
      const changed = [...mutations[part].filter(([known]) => known !== name), [name, value]];
      const parts = { header: mutations.header, claims: mutations.claims, [part]: changed };
      const text = [parts.header, parts.claims].map((members) => Buffer.from(objectOf(members)).toString("base64url")).join(".");
      const token = `${text}.${createHmac("sha256", mutations.secret).update(text).digest("base64url")}`;
      const got = await verifier.verify(token, keys, () => mutations.now).then(() => null, (error) => error.reason);
      if (got !== expected) wrong.push([name, value, expected, got]);
    }
    assert.deepEqual(wrong, []);
    assert.ok(cases.length >= 300);
  });
}

const claimsOf = ({ jti, sid, sub, iat }) => Object.assign(Object.create(Claims.prototype), { jti, sid, sub, iat, type: "access" });

test("the bytes of records", () => {
  const { bytes, kind, at, until, hash } = feeds.record;
  const record = decoded(bytes);
  const got = [record[0], record[1], record.readUIntBE(2, 6), record.readUInt32BE(8), record.toString("hex", 12)];
  assert.deepEqual(got, [kind, 0, at, until, hash]);
  for (const { name, records } of feeds.malformed) assert.throws(() => new RevocationList().apply(decoded(records)), name);
  for (const token of feeds.tokens) {
    for (const [of, expected] of Object.entries(token.hashes)) assert.equal(hexOf(of, token[of]), expected);
    assert.equal(claimsOf(token).issuedAtMillis, token.issued_at_millis);
  }
});

async function take(feed, step) {
  const { local: now } = step;
  if (step.do === "exchange") feed.exchanged(step.sent, step.now);
  else if (step.do === "snapshot") await feed.takeSnapshot(parseSnapshot(decoded(step.body)), () => now);
  else if (step.do === "event") feed.receive({ cursor: "cursor", now: 0, at: step.at, records: decoded(step.records) }, now);
  else if (step.do === "drop_expired") feed.dropExpired();
  else assert.equal(step.do, "look");
}

function whatFollows(feed, now) {
  const state = feed.state(now);
  const isOpen = state === "stale" && feed.isOpen(now);
  return {
    state,
    age: feed.age(now) ?? null,
    judged_at: feed.judgedAt(now),
    verdict: state === "fresh" ? "accepted" : isOpen ? "accepted_stale" : "unavailable",
    revoked: feeds.tokens.filter((token) => feed.refuses(claimsOf(token), "")).map(({ name }) => name),
    key_revoked: feed.list.refusesKey(hashOf("key", "a-key")),
    entries: feed.list.size,
  };
}

for (const { name, max_age, open_for, steps } of feeds.scenes) {
  test(`the states that follow: ${name}`, async () => {
    const feed = new Feed(max_age / 1000, open_for === null ? undefined : open_for / 1000);
    for (const [number, step] of steps.entries()) {
      await take(feed, step);
      assert.deepEqual(whatFollows(feed, step.local), step.then, `step ${number}: ${step.do}`);
    }
  });
}

test("what follows from an event", () => {
  const { cursor, events } = read("events.json");
  for (const { name, data, outcome } of events) {
    const feed = new Feed(5, undefined);
    feed.cursor = cursor;
    let got = "applied";
    try {
      feed.receive(parseEvent(data), { monotonic: 0, wall: 0 });
    } catch (error) {
      got = error instanceof LostEventError ? "lost" : "malformed";
    }
    assert.equal(got, outcome, name);
    assert.equal(feed.cursor === cursor, outcome !== "applied", name);
  }
});
