/** The keys that verify tokens, each with one algorithm. jose checks the signatures, and nothing else. */

import { createHmac, createSecretKey, hkdfSync } from "node:crypto";
import { type CryptoKey, flattenedVerify, importJWK, type JWK, type KeyObject } from "jose";

import { base64url, type Json, parseObject } from "./json.js";

const OF_CURVES: Record<string, string> = { "EC P-256": "ES256", "EC P-384": "ES384", "OKP Ed25519": "EdDSA" };
const OF_RSA = new Set(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]);
const LENGTHS: Record<string, number> = { ES256: 32, ES384: 48, EdDSA: 32 };
const ROCA_PRIMES = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];

type Members = { [name: string]: Json };

/** A key that verifies: a secret, or the public key of an issuer. */
export class Key {
  /** A field that no inspection of the object shows. */
  readonly #key: CryptoKey | KeyObject | Uint8Array;

  constructor(
    readonly kid: string,
    readonly algorithm: string,
    key: CryptoKey | KeyObject | Uint8Array,
    private readonly typs: readonly string[],
  ) {
    this.#key = key;
  }

  /** The HMAC key of a secret. Its `kid` is a keyed digest of the secret. */
  static hs256(secret: string): Key {
    return Key.ofSecret(Buffer.from(secret), ["jwt"]);
  }

  /**
   * The key of refresh tokens, which is derived from the secret (HKDF, RFC 5869). No guard accepts such a token, but it is
   * refused for the right reason.
   */
  static refresh(secret: string): Key {
    const derived = hkdfSync("sha256", secret, Buffer.alloc(0), "tessera refresh tokens", 32);
    return Key.ofSecret(Buffer.from(derived), ["rt+jwt"]);
  }

  private static ofSecret(secret: Buffer, typs: readonly string[]): Key {
    const kid = createHmac("sha256", secret).update("tessera key id").digest("base64url").slice(0, 16);
    return new Key(kid, "HS256", createSecretKey(secret), typs);
  }

  /** True if tokens with this `typ` can have a signature of this key. */
  isFor(typ: string): boolean {
    return this.typs.includes(typ);
  }

  /** True if this key made the signature. */
  async verify(header: string, payload: string, signature: string): Promise<boolean> {
    try {
      await flattenedVerify({ protected: header, payload, signature }, this.#key, { algorithms: [this.algorithm] });
      return true;
    } catch {
      // A library's error about a signature is a refusal, of whatever kind it is.
      return false;
    }
  }
}

function text(members: Members, name: string): string | undefined {
  const value = members[name];
  if (value !== undefined && typeof value !== "string") throw new TypeError(`${name} is not a text`);
  return value;
}

function algorithmOf(jwk: Members): string {
  const [kty, crv, named] = [text(jwk, "kty"), text(jwk, "crv"), text(jwk, "alg")];
  if (kty === "RSA" && crv === undefined && named !== undefined && OF_RSA.has(named)) return named;
  const forced = OF_CURVES[`${kty} ${crv}`];
  if (forced === undefined || (named !== undefined && named !== forced)) {
    throw new TypeError("the algorithm is not known");
  }
  return forced;
}

function checkNumbers(jwk: Members, algorithm: string): void {
  const names = algorithm === "EdDSA" ? ["x"] : algorithm.startsWith("ES") ? ["x", "y"] : ["n", "e"];
  const numbers = names.map((name) => base64url(text(jwk, name) ?? "="));
  const expected = LENGTHS[algorithm];
  if (expected !== undefined && numbers.some((number) => number.length !== expected)) {
    throw new TypeError("a coordinate has the wrong length");
  }
  if (OF_RSA.has(algorithm)) {
    const modulus = BigInt(`0x0${numbers[0]?.toString("hex") ?? ""}`);
    const bits = modulus.toString(2).length;
    if (bits < 2048 || bits > 8192) throw new TypeError("the modulus is too short or too long");
    if (hasRocaFingerprint(modulus)) throw new TypeError("anybody can factor the modulus");
  }
}

/** True for the keys of the faulty generator of CVE-2017-15361, which anybody can factor. */
function hasRocaFingerprint(modulus: bigint): boolean {
  return ROCA_PRIMES.every((prime) => {
    const rest = Number(modulus % BigInt(prime));
    for (let power = 1, count = 0; count < prime; count += 1, power = (power * 65_537) % prime) {
      if (power === rest) return true;
    }
    return false;
  });
}

/** Makes the key of a JWK. Throws if it is no public key for signatures. */
async function parseJwk(jwk: Members): Promise<Key> {
  const [use, ops] = [text(jwk, "use"), jwk["key_ops"]];
  const isAllowed = ops === undefined || (Array.isArray(ops) && ops.includes("verify"));
  if ((use !== undefined && use !== "sig") || !isAllowed) throw new TypeError("the key is not for signatures");
  const algorithm = algorithmOf(jwk);
  checkNumbers(jwk, algorithm);
  const publicPart: JWK = {};
  for (const name of ["kty", "crv", "x", "y", "n", "e"] as const) {
    const value = text(jwk, name);
    if (value !== undefined) publicPart[name] = value;
  }
  return new Key(text(jwk, "kid") ?? "", algorithm, await importJWK(publicPart, algorithm), ["jwt", "at+jwt"]);
}

/**
 * Makes the keys of a published set, by their names. It skips keys that cannot be used. It throws if this is not a set,
 * if two keys have one name, if a secret was published, or if there is no key.
 */
export async function parseJwks(data: Uint8Array): Promise<Map<string, Key>> {
  const listed = parseObject(data).members["keys"];
  if (!Array.isArray(listed)) throw new TypeError("not a JWK set");
  const jwks = listed.map((jwk) => {
    if (jwk === null || typeof jwk !== "object" || Array.isArray(jwk)) throw new TypeError("not a JWK set");
    return jwk;
  });
  const names = jwks.map((jwk) => text(jwk, "kid")).filter((kid) => kid !== undefined);
  if (new Set(names).size !== names.length) throw new TypeError("two keys have the same name");
  if (jwks.some((jwk) => [undefined, "oct"].includes(text(jwk, "kty")))) {
    throw new TypeError("a published key is a secret or has no type");
  }
  const usable = new Map<string, Key>();
  for (const made of await Promise.allSettled(jwks.map(parseJwk))) {
    if (made.status === "fulfilled") usable.set(made.value.kid, made.value);
  }
  if (usable.size === 0) throw new TypeError("the set has no key that can be used");
  return usable;
}
