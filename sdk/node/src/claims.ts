/** The claims of a token (RFC 7519, section 4). */

import { type Json, type ParsedObject, parseObject } from "./json.js";

const HEX = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const UUID = new RegExp(`^(?:([0-9a-f]{32})|(${HEX})|\\{(${HEX})\\}|urn:uuid:(${HEX}))$`, "i");
const NAMES = new Set([
  "iss", "sub", "aud", "iat", "nbf", "exp", "jti", "sid", "type", "fresh", "auth_time", "scope", "gen",
]);

/** The claims of an access token. Times are in seconds since the epoch. */
export class Claims {
  readonly iss: string;
  /** The id of the user, or the name of another party. */
  readonly sub: string;
  /** The services that the token is for. */
  readonly aud: readonly string[];
  readonly iat: number;
  readonly nbf: number;
  readonly exp: number;
  readonly jti: string;
  /** The session of the token, if it belongs to one. */
  readonly sid: string | undefined;
  /** `access`, or `refresh` for a token that no guard accepts. */
  readonly type: "access" | "refresh";
  /** True if the token was issued for a password, and not for a refresh token. */
  readonly fresh: boolean;
  /** The time when the user last gave a password. */
  readonly authTime: number;
  /** The scopes of the token, separated by spaces. */
  readonly scope: string;
  /** All other claims. */
  readonly extra: Readonly<Record<string, Json>>;
  /** True if the token was accepted although the feed is stale (`whenStale: "open"`). */
  readonly stale: boolean = false;

  /** Parses the payload of a token whose signature was checked. Throws if it has another form. */
  constructor(payload: Uint8Array) {
    const claims = new Reader(parseObject(payload));
    this.type = claims.type();
    this.fresh = claims.boolean("fresh", this.type === "refresh");
    this.authTime = claims.time("auth_time", this.type === "refresh");
    this.scope = claims.text("scope", this.type === "refresh");
    claims.time("gen", this.type === "access");
    this.sub = subject(claims.text("sub"));
    if (this.sub === "") throw new TypeError("sub is empty");
    this.iss = claims.text("iss");
    this.aud = claims.audiences();
    this.iat = claims.time("iat");
    this.nbf = claims.time("nbf");
    this.exp = claims.time("exp");
    this.jti = uuid(claims.text("jti"));
    this.sid = claims.has("sid") ? uuid(claims.text("sid")) : undefined;
    this.extra = claims.extra();
  }

  /** The scopes of the token, one by one. */
  get scopes(): string[] {
    return this.scope === "" ? [] : this.scope.split(" ");
  }

  /** True if the token has the scope. */
  hasScope(scope: string): boolean {
    return this.scope.split(" ").includes(scope);
  }

  /** True if the user gave a password at most `maxAge` seconds before `now`. */
  isFresh(maxAge: number, now: number): boolean {
    return this.type === "access" && this.fresh && Math.max(now - this.authTime, 0) <= maxAge;
  }

  /** The time of issue in milliseconds, which orders the tokens of a user: that in a version 7 `jti`. */
  get issuedAtMillis(): number {
    if (this.jti[14] !== "7") return this.iat * 1000;
    return Number.parseInt(this.jti.slice(0, 8) + this.jti.slice(9, 13), 16);
  }

  /** The same claims, marked: they were accepted although the feed is stale. */
  markedStale(): Claims {
    return Object.freeze(Object.assign(Object.create(Claims.prototype) as Claims, this, { stale: true }));
  }
}

class Reader {
  constructor(private readonly object: ParsedObject) {}

  has(name: string): boolean {
    return name in this.object.members;
  }

  text(name: string, isOptional = false): string {
    const value = this.object.members[name];
    if (value === undefined && isOptional) return "";
    if (typeof value !== "string") throw new TypeError(`${name} is not a text`);
    return value;
  }

  time(name: string, isOptional = false): number {
    const value = this.object.members[name];
    if (value === undefined && isOptional) return 0;
    if (typeof value !== "number" || !this.object.integers.has(name)) throw new TypeError(`${name} is not a time`);
    return value;
  }

  boolean(name: string, isOptional: boolean): boolean {
    const value = this.object.members[name];
    if (value === undefined && isOptional) return false;
    if (typeof value !== "boolean") throw new TypeError(`${name} is not a truth value`);
    return value;
  }

  type(): "access" | "refresh" {
    const type = this.text("type");
    if (type !== "access" && type !== "refresh") throw new TypeError("this kind of token is not known");
    return type;
  }

  audiences(): string[] {
    const value = this.object.members["aud"];
    const audiences = typeof value === "string" ? [value] : value;
    if (!Array.isArray(audiences) || audiences.length === 0) throw new TypeError("aud is neither a text nor a list");
    return audiences.map((audience) => {
      if (typeof audience !== "string") throw new TypeError("an audience is not a text");
      return audience;
    });
  }

  extra(): Record<string, Json> {
    const extra = Object.create(null) as Record<string, Json>;
    for (const [name, value] of Object.entries(this.object.members)) if (!NAMES.has(name)) extra[name] = value;
    return extra;
  }
}

/** The usual form of a UUID. Throws if the text is none. */
export function uuid(text: string): string {
  const found = UUID.exec(text);
  if (found === null) throw new TypeError("not a UUID");
  const [, simple, ...others] = found;
  const id = others.find((other) => other !== undefined) ?? (simple ?? "").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  return id.toLowerCase();
}

/** The one spelling of a subject: a UUID in its usual form is the same in upper and lower case. */
export function subject(text: string): string {
  return text.length === 36 && UUID.test(text) ? text.toLowerCase() : text;
}
