// The environment of a service. Errors name the variable, and never its value.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";

import { tessera as express } from "../dist/express.js";
import { SettingsError, Tessera } from "../dist/index.js";
import { Key } from "../dist/keys.js";

const GOOD = { TESSERA_ISSUER: "https://id.example.com", TESSERA_AUDIENCE: "tessera", TESSERA_FEED_TOKEN: "tsr_abc" };

test("the environment has all settings", () => {
  const secret = join(mkdtempSync(join(tmpdir(), "tessera-")), "secret");
  writeFileSync(secret, "a secret of at least thirty-two bytes\n");
  const more = { TESSERA_ISSUER: "HTTPS://ID.example.com:443/", TESSERA_AUDIENCE: "a, b", TESSERA_SECRET_FILE: secret };
  const { settings, knowledge } = new Tessera({ whenStale: "open" }, { ...GOOD, ...more });
  assert.equal(settings.issuer, "https://id.example.com");
  assert.deepEqual(settings.audiences, ["a", "b"]);
  assert.ok(knowledge.keys.current({ monotonic: 0, wall: 0 }).has(Key.hs256("a secret of at least thirty-two bytes").kid));
  assert.equal(settings.whenStale, "open");
});

test("an error names the variable, and not its value", () => {
  const cases = [
    [{ TESSERA_ISSUER: "" }, "TESSERA_ISSUER"],
    [{ TESSERA_ISSUER: "id.example.com" }, "TESSERA_ISSUER"],
    [{ TESSERA_ISSUER: "https://user:topsecret@id.example.com" }, "TESSERA_ISSUER"],
    [{ TESSERA_FEED_TOKEN: "" }, "TESSERA_FEED_TOKEN"],
    [{ TESSERA_FEED_TOKEN: "tsr_topsecret\nX: y" }, "TESSERA_FEED_TOKEN"],
    [{ TESSERA_ISSUER: "http://id.example.com" }, "TESSERA_ISSUER"],
    [{ TESSERA_ISSUER: "ftp://localhost" }, "TESSERA_ISSUER"],
    [{ TESSERA_FEED_TOKEN: "", TESSERA_FEED_TOKEN_FILE: "/nonexistent/topsecret" }, "TESSERA_FEED_TOKEN_FILE"],
    [{ TESSERA_FEED: "topsecret" }, "TESSERA_FEED"],
    [{ TESSERA_SECRET: "topsecret" }, "TESSERA_SECRET"],
    [{ TESSERA_AUDIENCE: "" }, "TESSERA_AUDIENCE"],
    [{ TESSERA_AUDIENCE: " , " }, "TESSERA_AUDIENCE"],
  ];
  for (const [changed, named] of cases) {
    const isRight = (error) =>
      error instanceof SettingsError && error.message.includes(named) && !error.message.includes("topsecret");
    assert.throws(() => new Tessera({}, { ...GOOD, ...changed }), isRight, JSON.stringify(changed));
  }
});

test("on the same machine a feed is optional, with a warning, and it can be off", () => {
  const warnings = [];
  const tessera = new Tessera({ warn: (text) => warnings.push(text) }, { TESSERA_ISSUER: "http://localhost:8000", TESSERA_AUDIENCE: "tessera" });
  assert.equal(tessera.state, "off");
  assert.match(warnings.join(), /TESSERA_FEED_TOKEN is missing/);
  assert.equal(new Tessera({}, { ...GOOD, TESSERA_FEED: "off" }).state, "off");
});

const { cases } = JSON.parse(readFileSync(new URL("../../vectors/settings.json", import.meta.url), "utf8"));

function outcomeOf(environment, fault) {
  try {
    const { settings, knowledge } = new Tessera({ warn: () => undefined }, environment);
    const { issuer, audiences, feed, mode } = settings;
    return { issuer, audiences, feed: feed ? mode : "off", has_secret: !knowledge.keys.arePublished };
  } catch (error) {
    assert.ok(error instanceof SettingsError, error);
    assert.doesNotMatch(error.message, /topsecret/);
    return { fault: error.message.includes(fault) ? fault : error.message };
  }
}

for (const { environment, outcome } of cases) {
  test(`the settings that follow in every language: ${JSON.stringify(environment)}`, () => {
    assert.deepEqual(outcomeOf(environment, outcome.fault), outcome);
  });
}

test("no text of a verifier has a secret", () => {
  const secret = "a secret of at least thirty-two bytes";
  const environment = { ...GOOD, TESSERA_SECRET: secret };
  const verifier = new Tessera({}, environment);
  const guards = express(verifier);
  for (const object of [verifier, guards, verifier.settings, verifier.knowledge, verifier.client]) {
    const texts = [inspect(object, { depth: 9, showHidden: true, getters: true }), JSON.stringify(object)];
    for (const text of texts) assert.doesNotMatch(text, /thirty-two|tsr_abc|6120736563726574|61 20 73 65 63 72 65 74/);
  }
});
