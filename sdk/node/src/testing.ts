/**
 * An issuer for your tests. It opens no port, and the verifier is the one that runs in production.
 *
 *     const issuer = new FakeIssuer();
 *     issuer.serve(guards.verifier);
 *     const token = issuer.token({ sub: "56df201e-…", scope: "reports" });
 *     issuer.revoke(token);
 */

import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, randomUUID, sign } from "node:crypto";

import { Feed, recordBytes } from "./feed.js";
import { base64url } from "./json.js";
import { KeyStore } from "./key-store.js";
import { Key } from "./keys.js";
import { CUT, DENY, hashOf, KEY } from "./list.js";
import { type Knowledge, Tessera } from "./tessera.js";
import { Verifier } from "./verifier.js";

/** What a token says. Other claims can be given by name; `undefined` leaves one out. */
export interface TokenOptions {
  /** By default, a new user. */
  sub?: string;
  /** By default true. */
  fresh?: boolean;
  scope?: string;
  /** In seconds: 900. */
  expiresIn?: number;
  claims?: Record<string, unknown>;
}

interface Signer {
  kid: string;
  privateKey: KeyObject;
  publicKey: KeyObject;
}

function newSigner(): Signer {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  return { kid: randomBytes(32).toString("base64url"), privateKey, publicKey };
}

function uuid7(milliseconds: number): string {
  const time = milliseconds.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}

function encoded(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** Makes tokens for your tests, and revokes them. */
export class FakeIssuer {
  private signer = newSigner();
  private readonly keys = new Map<string, Key>();
  private readonly records: Buffer[] = [];
  private isStale = false;
  private readonly served: [Tessera, Knowledge][] = [];

  constructor(
    readonly issuer = "https://issuer.test",
    readonly audience = "tessera",
  ) {
    this.publish(this.signer);
  }

  private publish({ kid, publicKey }: Signer): void {
    this.keys.set(kid, new Key(kid, "EdDSA", publicKey, ["jwt", "at+jwt"]));
  }

  /** Options with which a verifier starts in a test. No request is sent. */
  options(): { issuer: string; audience: string; feedToken: string } {
    return { issuer: this.issuer, audience: this.audience, feedToken: "tsr_for_tests" };
  }

  /** The keys, as an issuer publishes them. */
  jwks(): { keys: Record<string, unknown>[] } {
    const keys = [this.signer].map(({ kid, publicKey }) => {
      const jwk = createPublicKey(publicKey.export({ type: "spki", format: "pem" })).export({ format: "jwk" });
      return { ...jwk, kid, use: "sig", alg: "EdDSA" };
    });
    return { keys };
  }

  /** Makes a verifier trust this issuer alone, until `close` is called. */
  serve(tessera: Tessera): Tessera {
    const { maxAge, openFor, whenStale, leeway, clock } = tessera.settings;
    const [feed, keys] = [new Feed(maxAge, whenStale === "open" ? openFor : undefined), new KeyStore(undefined)];
    feed.beginEmpty();
    let applied = 0;
    const beat = (): void => {
      const moment = clock();
      keys.set(this.keys, moment);
      const records = Buffer.concat(this.records.slice(applied));
      applied = this.records.length;
      const now = Math.floor(moment.wall);
      // While the issuer is away, an old event is the newest.
      const at = this.isStale ? now - maxAge * 1000 - 1000 : now;
      feed.exchanged(moment, now);
      feed.receive({ cursor: `fake.${applied}.0`, now, at, records }, moment);
    };
    this.served.push([tessera, tessera.knowledge]);
    tessera.knowledge = { verifier: new Verifier(this.issuer, [this.audience], leeway), keys, feed, beat };
    return tessera;
  }

  /** Undoes `serve`. */
  close(): void {
    for (const [tessera, knowledge] of this.served.splice(0).reverse()) tessera.knowledge = knowledge;
  }

  /** Makes an access token. */
  token({ sub = randomUUID(), fresh = true, scope = "", expiresIn = 900, claims = {} }: TokenOptions = {}): string {
    const milliseconds = Date.now();
    const iat = Math.floor(milliseconds / 1000);
    const header = encoded({ typ: "JWT", alg: "EdDSA", kid: this.signer.kid });
    const payload = encoded({
      iss: this.issuer, sub, aud: this.audience, iat, nbf: iat - 5, exp: iat + expiresIn, jti: uuid7(milliseconds),
      sid: randomUUID(), type: "access", fresh, auth_time: iat, scope, ...claims,
    });
    const signature = sign(null, Buffer.from(`${header}.${payload}`), this.signer.privateKey);
    return `${header}.${payload}.${signature.toString("base64url")}`;
  }

  private claims(token: string): Record<string, string> {
    return JSON.parse(base64url(token.split(".")[1] ?? "").toString()) as Record<string, string>;
  }

  private record(kind: number, of: "jti" | "sid" | "sub" | "key", id: string): void {
    const { high, low } = hashOf(of, id);
    const hash = high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
    this.records.push(recordBytes(kind, hash, Date.now(), Math.floor(Date.now() / 1000) + 86_400));
  }

  /** Revokes one token. */
  revoke(token: string): void {
    this.record(DENY, "jti", this.claims(token)["jti"] ?? "");
  }

  /** Ends the session of a token, as a logout does. */
  endSession(token: string): void {
    this.record(DENY, "sid", this.claims(token)["sid"] ?? "");
  }

  /** Revokes all tokens that a user got until now, as a new password does. */
  revokeUser(sub: string): void {
    this.record(CUT, "sub", sub);
  }

  /** Makes a new key, which signs from now on, and retires the old one: its tokens are refused. */
  rotate(): void {
    this.record(KEY, "key", this.signer.kid);
    this.keys.clear();
    this.signer = newSigner();
    this.publish(this.signer);
  }

  /** Makes the feed too old: guards answer 503, unless `whenStale` is `open`. */
  makeStale(): void {
    this.isStale = true;
  }

  /** Ends what `makeStale` began. */
  makeFresh(): void {
    this.isStale = false;
  }
}
