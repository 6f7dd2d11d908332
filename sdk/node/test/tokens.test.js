// The form, the header and the claims of tokens. The vectors have more of them.

import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";

import { Claims, Tessera } from "../dist/index.js";
import { base64url, parseObject } from "../dist/json.js";
import { Key, parseJwks } from "../dist/keys.js";
import { RevocationList } from "../dist/list.js";
import { SENTENCES } from "../dist/refusal.js";
import { recordBytes } from "../dist/feed.js";
import { hexOf } from "./feed-server.js";
import { judged } from "./support.js";

const SECRET = "a secret of at least thirty-two bytes";
const { kid: KID } = Key.hs256(SECRET);
const NOW = Math.floor(Date.now() / 1000);
const CLAIMS = {
  iss: "https://issuer.test", sub: "somebody", aud: "reports", iat: NOW, nbf: NOW - 5, exp: NOW + 3600,
  jti: "0198c5ab-0000-7000-8000-000000000001", sid: "0198c5ab-0000-4000-8000-000000000002", type: "access",
  fresh: true, auth_time: NOW, scope: "a b", email: "me@example.com",
};

const tessera = new Tessera({ issuer: "https://issuer.test", audience: ["reports", "billing"], secret: SECRET, feed: false }, {});
const encoded = (text) => Buffer.from(text).toString("base64url");
const header = (members = {}) => JSON.stringify({ typ: "JWT", alg: "HS256", kid: KID, ...members });
const claims = (members = {}) => JSON.stringify({ ...CLAIMS, ...members });
const withRaw = (raw) => `${claims().slice(0, -1)}, ${raw}}`;

function signed(header, payload, secret = SECRET) {
  const text = `${encoded(header)}.${encoded(payload)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

test("a valid token has its claims", async () => {
  const got = await tessera.verify(signed(header(), claims({ aud: ["x", "billing"] })));
  assert.deepEqual([got.sub, got.aud, got.scopes, got.fresh], ["somebody", ["x", "billing"], ["a", "b"], true]);
  assert.deepEqual({ ...got.extra }, { email: "me@example.com" });
  assert.equal(got.issuedAtMillis, 0x0198c5ab0000);
  assert.ok(got instanceof Claims);
});

const CASES = [
  ["", "token_malformed"],
  ["a.b", "token_malformed"],
  ["a.b.c.d", "token_malformed"],
  ["é.e30.AAAA", "token_malformed"],
  ["a".repeat(8193), "token_too_long"],
  ["é".repeat(4097), "token_too_long"],
  ["a".repeat(8192), "token_malformed"],
  [signed("[]", claims()), "header_invalid"],
  [signed("", claims()), "header_invalid"],
  [signed(header({ crit: ["exp"] }), claims()), "header_unsupported"],
  [signed(header({ jku: "https://elsewhere" }), claims()), "header_unsupported"],
  [signed(header({ typ: "at+jwt" }), claims()), "header_unsupported"],
  [signed(header({ typ: "JWS" }), claims()), "header_unsupported"],
  [signed(header({ typ: null }), claims()), "header_invalid"],
  [signed(header({ typ: "jwt" }), claims()), "accepted"],
  [signed(header({ typ: "rt+jwt" }), claims()), "key_unknown"],
  [signed(header({ kid: "x" }), claims()), "key_unknown"],
  [signed('{"alg":"HS256"}', claims()), "header_invalid"],
  [signed(`{"alg":"HS256","kid":"x","kid":"${KID}"}`, claims()), "header_invalid"],
  [signed(`{"kid":"${KID}"}`, claims()), "header_invalid"],
  [signed(header({ alg: "none" }), claims()), "algorithm_mismatch"],
  [signed(header({ alg: "hs256" }), claims()), "algorithm_mismatch"],
  [signed(header({ alg: "RS256" }), claims()), "algorithm_mismatch"],
  [signed(header(), claims(), "another"), "signature_invalid"],
  [`${signed(header(), claims()).split(".").slice(0, 2).join(".")}.`, "signature_invalid"],
  [`${signed(header(), claims())}=`, "token_malformed"],
  [signed(header(), "[]"), "claims_invalid"],
  [signed(header(), withRaw('"sub": "other"')), "claims_invalid"],
  [signed(header(), withRaw('"\\u0073ub": "other"')), "claims_invalid"],
  [signed(header(), withRaw('"x": {"a": 1, "a": 2}')), "claims_invalid"],
  [signed(header(), withRaw('"__proto__": {"a": 1}')), "accepted"],
  [signed(header(), withRaw('"x": NaN')), "claims_invalid"],
  [signed(header(), withRaw('"x": 1e999')), "claims_invalid"],
  [signed(header(), withRaw('"x": "\\ud800"')), "claims_invalid"],
  [signed(header(), withRaw(`"x": ${"[".repeat(126)}${"]".repeat(126)}`)), "accepted"],
  [signed(header(), withRaw(`"x": ${"[".repeat(127)}${"]".repeat(127)}`)), "claims_invalid"],
  [signed(header(), claims().replace(/"iat":\d+/, `"iat":${NOW}.0`)), "claims_invalid"],
  [signed(header(), claims().replace(/"iat":\d+/, `"iat":${NOW / 1000}e3`)), "claims_invalid"],
  [signed(header(), claims({ iat: true })), "claims_invalid"],
  [signed(header(), claims({ iat: -1 })), "claims_invalid"],
  [signed(header(), claims({ nbf: String(NOW) })), "claims_invalid"],
  [signed(header(), claims().replace(/"nbf":\d+/, '"nbf":18446744073709551616')), "claims_invalid"],
  [signed(header(), claims({ exp: undefined })), "claims_invalid"],
  [signed(header(), claims({ sub: "" })), "claims_invalid"],
  [signed(header(), claims({ sid: null })), "claims_invalid"],
  [signed(header(), claims({ sid: undefined })), "accepted"],
  [signed(header(), claims({ jti: "x" })), "claims_invalid"],
  [signed(header(), claims({ jti: "{0198c5ab-0000-7000-8000-000000000001}" })), "accepted"],
  [signed(header(), claims({ jti: "URN:UUID:0198c5ab-0000-7000-8000-000000000001" })), "accepted"],
  [signed(header(), claims({ aud: [] })), "claims_invalid"],
  [signed(header(), claims({ aud: ["reports", 1] })), "claims_invalid"],
  [signed(header(), claims({ fresh: 1 })), "claims_invalid"],
  [signed(header(), claims({ type: "id" })), "claims_invalid"],
  [signed(header(), claims({ gen: "x" })), "claims_invalid"],
  [signed(header(), claims({ type: "refresh", gen: 1 })), "type_mismatch"],
  [signed(header(), claims({ iss: "https://issuer.test/" })), "issuer_mismatch"],
  [signed(header(), claims({ aud: "elsewhere" })), "audience_mismatch"],
  [signed(header(), claims({ exp: NOW - 1, iat: NOW - 9 })), "token_expired"],
  [signed(header(), claims({ nbf: NOW + 600 })), "token_not_yet_valid"],
  [signed(header(), claims({ iat: NOW + 600 })), "token_not_yet_valid"],
  [signed(header(), claims({ iat: NOW + 1 })), "accepted"],
  [signed(header(), claims({ exp: NOW + 86_401 })), "lifetime_too_long"],
  [signed(header(), claims({ sub: null, iss: "x" })), "claims_invalid"],
];

test("each check has its reason", async () => {
  for (const [token, expected] of CASES) assert.equal(await judged(tessera, token), expected, token);
  assert.equal(Object.keys(SENTENCES).length, 15);
});

test("base64url has one spelling, and JSON is strict", () => {
  assert.deepEqual(base64url("AQ"), Buffer.from([1]));
  for (const other of ["AR", "AQ=", "AQ==", "A", "A Q", "A+", "A/", "AQ\n", "ＡＱ"]) assert.throws(() => base64url(other), other);
  const parse = (text) => parseObject(Buffer.from(text));
  const texts = ["", "1", '{"a":1}x', "{'a':1}", '{"a":01}', '{"a":1,}', '{"a" 1}', '{"a":"\n"}', '{"\\u0061":1,"a":2}', "\ufeff{}",
    '{"a":"\\x"}', '{"a":"\\constructor"}', '{"a":"\\u12"}', '{"a":tru}', '{"a":[1,]}', '{"a":[1 2]}', '{"a":1', '{"a":"', "{", "\u00a0{}"];
  for (const other of texts) assert.throws(() => parse(other), SyntaxError, other);
  assert.throws(() => parseObject(Buffer.from([0x7b, 0xff, 0x7d])));
  const { members, integers } = parse('{"a": 18446744073709551615, "b": [1.5, null], "c": 1.0, "d": -0, "e":"\\ud83d\\ude00\\n", "f": [7]}');
  assert.deepEqual([...integers], ["a"]);
  assert.deepEqual({ ...members }, { a: 2 ** 64, b: [1.5, null], c: 1, d: -0, e: "😀\n", f: [7] });
});

test("a set of keys with a secret or two keys of a name is refused", async () => {
  const good = { kty: "OKP", crv: "Ed25519", x: Buffer.from([...Buffer.alloc(31), 1]).toString("base64url"), kid: "a" };
  const parse = (keys) => parseJwks(Buffer.from(JSON.stringify({ keys })));
  assert.deepEqual([...(await parse([good, { kty: "EC", crv: "P-521" }])).keys()], ["a"]);
  const secret = { kty: "oct", k: "A".repeat(43), alg: "HS256" };
  const bad = [[good, good], [good, secret], [], [1], [{ ...good, use: "enc" }], [{ ...good, alg: "ES256" }],
    [{ ...good, x: "AAAA" }], [{ ...good, key_ops: ["sign"] }]];
  for (const keys of bad) await assert.rejects(parse(keys), JSON.stringify(keys));
});

test("the list has the same entries as a plain map", () => {
  const [list, plain] = [new RevocationList(50), new Map()];
  const hash = (number) => hexOf("sub", String(number));
  const has = (number) => {
    const hex = hash(number);
    return list.denies({ high: Number.parseInt(hex.slice(0, 8), 16), low: Number.parseInt(hex.slice(8), 16) });
  };
  for (let round = 0; round < 40; round += 1) {
    const records = [];
    for (let n = 0; n < 60; n += 1) {
      const [hex, until] = [hash((round * 31 + n * 7) % 900), 100 + ((n * round) % 300)];
      records.push(recordBytes(1, hex, 0, until));
      plain.set(hex, Math.max(until, plain.get(hex) ?? 0));
    }
    for (let n = 0; n < 5; n += 1) {
      const hex = hash((round * 17 + n) % 900);
      records.push(recordBytes(3, hex, 0, 0));
      plain.delete(hex);
    }
    list.apply(Buffer.concat(records));
  }
  assert.equal(list.size, plain.size);
  for (let n = 0; n < 900; n += 1) assert.equal(has(n), plain.has(hash(n)));
  list.dropBefore(250);
  for (let n = 0; n < 900; n += 1) assert.equal(has(n), (plain.get(hash(n)) ?? 0) >= 250);
});

test("a lift repeats what still holds, and an unknown kind changes nothing", () => {
  const list = new RevocationList();
  const [seven, eight] = ["0000000000000007", "0000000000000008"];
  list.apply(Buffer.concat([recordBytes(2, seven, 5000, 90), recordBytes(1, eight, 0, 90)]));
  list.apply(Buffer.concat([recordBytes(3, seven, 0, 0), recordBytes(2, seven, 3000, 90)]));
  assert.equal(list.cutOf({ high: 0, low: 7 }), 3000);
  assert.throws(() => list.apply(Buffer.concat([recordBytes(3, eight, 0, 0), recordBytes(9, eight, 0, 0)])));
  assert.throws(() => list.apply(Buffer.alloc(19)));
  assert.ok(list.denies({ high: 0, low: 8 }));
});

test("a million entries take less than 25 megabytes", () => {
  const list = new RevocationList();
  for (let part = 0; part < 1_000_000; part += 10_000) {
    const records = randomBytes(10_000 * 20);
    for (let start = 0; start < records.length; start += 20) recordBytes(1, "", 0, 9).copy(records, start, 0, 12);
    list.apply(records);
  }
  assert.equal(list.size, 1_000_000);
  const { sorted, newest } = list;
  const bytes = [sorted, newest].flatMap(Object.values).reduce((sum, { byteLength }) => sum + (byteLength ?? 0), 0);
  assert.ok(bytes > 12_000_000 && bytes < 25_000_000, String(bytes));
});
