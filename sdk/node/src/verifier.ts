/** The verifier, which decides whether a token is valid: an ordered list of small checks (RFC 8725). */

import { Claims } from "./claims.js";
import { base64url, parseObject } from "./json.js";
import type { Key } from "./keys.js";
import { type Refusal, Refused } from "./refusal.js";

/** The longest token, in bytes. */
export const MAX_TOKEN_LENGTH = 8 * 1024;
const MAX_LEEWAY = 60;
const MAX_ACCESS_LIFETIME = 86_400;
const MAX_REFRESH_LIFETIME = 10 * 366 * 86_400;
const UNSUPPORTED = ["crit", "b64", "cty", "zip", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256"];
const TYPS = ["jwt", "rt+jwt", "at+jwt"];

/** The parts of a token in compact form (RFC 7515, section 7.1), and the header's members that are used. */
export interface Parts {
  typ: string;
  algorithm: string;
  kid: string;
  payload: Buffer;
  segments: [header: string, payload: string, signature: string];
}

function require(holds: boolean, refusal: Refusal): asserts holds {
  if (!holds) throw new Refused(refusal);
}

/** The result, or a refusal if it throws. */
function parsed<T>(refusal: Refusal, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw new Refused(refusal);
  }
}

/** Splits a token, and checks the form of its parts and its header. */
export function split(token: string): Parts {
  require(Buffer.byteLength(token) <= MAX_TOKEN_LENGTH, "token_too_long");
  const segments = token.split(".");
  const [header, payload, signature] = segments;
  require(segments.length === 3 && header !== undefined && payload !== undefined && signature !== undefined, "token_malformed");
  const [head, body] = parsed("token_malformed", () => {
    base64url(signature);
    return [base64url(header), base64url(payload)] as const;
  });
  const { typ, algorithm, kid } = parseHeader(head);
  require(typ !== "at+jwt", "header_unsupported");
  require(kid !== undefined, "header_invalid");
  return { typ, algorithm, kid, payload: body, segments: [header, payload, signature] };
}

function parseHeader(data: Buffer): { typ: string; algorithm: string; kid: string | undefined } {
  const { members } = parsed("header_invalid", () => parseObject(data));
  const { typ, alg, kid } = members;
  for (const member of [typ, alg, kid]) require(member === undefined || typeof member === "string", "header_invalid");
  require(!UNSUPPORTED.some((name) => name in members), "header_unsupported");
  const named = typeof typ === "string" ? typ : "JWT";
  // Only letters of ASCII have two cases here.
  const lower = named.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  require(TYPS.includes(lower), "header_unsupported");
  require(typeof alg === "string", "header_invalid");
  return { typ: lower, algorithm: alg, kid: typeof kid === "string" ? kid : undefined };
}

/** Decides whether an access token of a session is valid. It reads no clock and sends no requests. */
export class Verifier {
  private readonly leeway: number;

  constructor(
    readonly issuer: string,
    readonly audiences: readonly string[],
    leeway: number,
  ) {
    this.leeway = Math.min(leeway, MAX_LEEWAY);
  }

  /**
   * Returns the claims and the name of the key, or throws `Refused` for the first check that fails. It does not check
   * whether the token was revoked. The keys and the time are read when they are needed.
   */
  async verify(token: string, keys: ReadonlyMap<string, Key>, now: () => number): Promise<[Claims, string]> {
    const parts = split(token);
    const claims = await this.signed(parts, keys);
    require(claims.iss === this.issuer, "issuer_mismatch");
    this.checkAudience(claims);
    this.checkTimes(claims, now());
    require(claims.type === "access", "type_mismatch");
    return [claims, parts.kid];
  }

  private async signed(parts: Parts, keys: ReadonlyMap<string, Key>): Promise<Claims> {
    const key = keys.get(parts.kid);
    require(key !== undefined && key.isFor(parts.typ), "key_unknown");
    require(parts.algorithm === key.algorithm, "algorithm_mismatch");
    require(await key.verify(...parts.segments), "signature_invalid");
    const claims = parsed("claims_invalid", () => new Claims(parts.payload));
    require(claims.type === (parts.typ === "rt+jwt" ? "refresh" : "access"), "type_mismatch");
    return claims;
  }

  private checkAudience(claims: Claims): void {
    const isOurs = claims.type === "access"
      ? claims.aud.some((audience) => this.audiences.includes(audience))
      : claims.aud.every((audience) => audience === this.issuer);
    require(isOurs, "audience_mismatch");
  }

  private checkTimes(claims: Claims, now: number): void {
    // A token must not be accepted on or after `exp`, whatever the leeway is.
    require(now < claims.exp, "token_expired");
    const latest = now + this.leeway;
    require(claims.nbf <= latest && claims.iat <= latest, "token_not_yet_valid");
    const longest = claims.type === "access" ? MAX_ACCESS_LIFETIME : MAX_REFRESH_LIFETIME;
    require(claims.exp - claims.iat <= longest, "lifetime_too_long");
  }
}
