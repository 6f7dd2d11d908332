/**
 * What a service knows from the revocation feed, and how old this knowledge can be. Nothing here reads a clock or sends a
 * request.
 */

import type { Claims } from "./claims.js";
import { type Json, parseObject } from "./json.js";
import { CUT, DENY, hashOf, KEY, LIFT, RECORD, RevocationList } from "./list.js";

/** How many exchanges count. */
const EXCHANGES = 4;
/** By how many milliseconds the newest event can be ahead of what exchanges prove, before the issuer's clock jumped. */
const JUMP = 1000;
/** For how many seconds an entry is kept after its last token expired. */
const KEPT_FOR = 300;
const KINDS: Record<string, number> = { deny: DENY, cut: CUT, lift: LIFT, key: KEY };
const MAGIC = Buffer.from("TSRF\x01", "latin1");

/** A time on this machine, in milliseconds: by its monotonic clock, and by its wall clock. */
export interface Moment {
  monotonic: number;
  wall: number;
}

/** The larger of both spans, because monotonic clocks stand still while a machine is suspended. */
export function since(moment: Moment, earlier: Moment): number {
  return Math.max(moment.monotonic - earlier.monotonic, moment.wall - earlier.wall, 0);
}

/** What a service can say about revocations now. */
export type State = "unknown" | "fresh" | "stale" | "off";
export const STATES: readonly State[] = ["unknown", "fresh", "stale", "off"];

/**
 * A part of the feed: records, the cursor after them, and the times of the issuer's clock in milliseconds. `at` is the time
 * up to which it is complete, and 0 if more follows. `after` is the cursor before it, if the server says it.
 */
export interface Event {
  cursor: string;
  now: number;
  at: number;
  records: Buffer;
  after?: string | undefined;
}

/** An event before this one is missing. */
export class LostEventError extends Error {
  constructor() {
    super("an event was lost on the way: check the proxies between this service and Tessera");
  }
}

function cursorOf(value: Json | undefined): string {
  if (typeof value !== "string" || !/^[!-~]{1,255}$/.test(value)) throw new TypeError("the cursor is not a short text");
  return value;
}

function timeOf(value: Json | bigint | undefined): number {
  const time = typeof value === "bigint" ? Number(value) : value;
  if (typeof time !== "number" || !Number.isInteger(time) || time < 0 || time >= 2 ** 48) {
    throw new TypeError("a time is not a number of milliseconds");
  }
  return time;
}

/** Parses a snapshot. Throws if the bytes are something else, or not whole. */
export function parseSnapshot(body: Buffer): Event {
  const start = MAGIC.length + 1 + (body[MAGIC.length] ?? 0);
  const records = start + 20;
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) throw new TypeError("not a snapshot of the revocation feed");
  if (body.length < records || body.length - records !== body.readUInt32BE(start + 16) * RECORD) {
    throw new TypeError("the snapshot is not whole");
  }
  return {
    cursor: cursorOf(body.toString("latin1", MAGIC.length + 1, start)),
    now: timeOf(body.readBigUInt64BE(start)),
    at: timeOf(body.readBigUInt64BE(start + 8)),
    records: body.subarray(records),
  };
}

/** Parses the data of an event of the stream. Throws if it has another form. */
export function parseEvent(data: string): Event {
  const { members } = parseObject(Buffer.from(data));
  const text = members["records"] ?? "";
  const records = Buffer.from(typeof text === "string" ? text : "", "base64");
  if (records.toString("base64") !== text) throw new TypeError("the records are not base64");
  const after = members["after"] ?? undefined;
  if (after !== undefined && typeof after !== "string") throw new TypeError("the place of an event is not a text");
  return { cursor: cursorOf(members["cursor"]), now: timeOf(members["now"]), at: timeOf(members["at"]), records, after };
}

/** Parses the answer to a long poll. Throws if it has another form. */
export function parsePage(data: Buffer): Event {
  const { members } = parseObject(data);
  const entries = members["entries"] ?? [];
  if (!Array.isArray(entries)) throw new TypeError("entries is not a list");
  const records = Buffer.concat(entries.map(recordOf));
  return { cursor: cursorOf(members["cursor"]), now: timeOf(members["now"]), at: timeOf(members["at"]), records };
}

function recordOf(entry: Json): Buffer {
  if (entry === null || typeof entry !== "object" || Array.isArray(entry)) throw new TypeError("an entry is no object");
  const { kind, hash, at, until } = entry;
  const number = typeof kind === "string" && Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (number === undefined || typeof hash !== "string" || !/^[0-9a-f]{16}$/.test(hash) || typeof until !== "number") {
    throw new TypeError("an entry has another form");
  }
  return recordBytes(number, hash, timeOf(at), until);
}

/** The bytes of a record. `hash` is in hexadecimal digits. */
export function recordBytes(kind: number, hash: string, at: number, until: number): Buffer {
  const record = Buffer.alloc(RECORD);
  record[0] = kind;
  record.writeUIntBE(at, 2, 6);
  record.writeUInt32BE(until, 8);
  record.write(hash, 12, "hex");
  return record;
}

interface Exchange {
  sent: Moment;
  now: number;
}

/** The revocation list, and the arithmetic of its age. */
export class Feed {
  readonly list = new RevocationList();
  cursor: string | undefined;
  private readonly maxAge: number;
  private readonly openFor: number | undefined;
  private exchanges: Exchange[] = [];
  private hasSnapshot = false;
  private at = 0;
  /** The latest time of the issuer's clock that was ever seen. */
  private newestAt = 0;

  /** Both are in seconds. */
  constructor(maxAge: number, openFor: number | undefined) {
    this.maxAge = maxAge * 1000;
    this.openFor = openFor === undefined ? undefined : openFor * 1000;
  }

  /** Learns from an answer with the issuer's time `now` to a request that was sent at `sent`. */
  exchanged(sent: Moment, now: number): void {
    this.exchanges = [...this.exchanges, { sent, now }].slice(-EXCHANGES);
  }

  /**
   * Learns from an event. Returns true if the keys must be read again. Throws a `LostEventError`, and learns nothing, if an
   * event before this one is missing.
   */
  receive(event: Event, moment: Moment): boolean {
    if (event.after !== undefined && event.after !== this.cursor) throw new LostEventError();
    const keysChanged = this.list.apply(event.records);
    this.advance(event, moment);
    return keysChanged;
  }

  /** Learns from a snapshot. What is known stays. It lets requests in between. */
  async takeSnapshot(event: Event, clock: () => Moment): Promise<boolean> {
    const keysChanged = await this.list.applyMany(event.records);
    this.advance(event, clock());
    this.hasSnapshot = true;
    return keysChanged;
  }

  /** Begins without entries, for an issuer that has revoked nothing. */
  beginEmpty(): void {
    this.hasSnapshot = true;
  }

  private advance(event: Event, moment: Moment): void {
    this.cursor = event.cursor;
    if (event.at === 0) return;
    this.at = event.at;
    this.newestAt = Math.max(this.newestAt, event.at);
    // The issuer's clock jumped ahead: earlier answers prove nothing about it any more.
    if (this.hasJumped(this.latest(moment))) this.exchanges = [];
  }

  /** Drops the entries whose tokens have all expired by the issuer's clock, some minutes later. */
  dropExpired(): void {
    this.list.dropBefore(Math.floor(this.newestAt / 1000) - KEPT_FOR);
  }

  /** The latest time that the issuer's clock can show at this moment. The clock here can be slow by a thousandth. */
  private latest(moment: Moment): number {
    return Math.min(...this.exchanges.map(({ sent, now }) => now + Math.ceil((since(moment, sent) * 1001) / 1000)));
  }

  private hasJumped(latest: number): boolean {
    return latest + JUMP < this.at;
  }

  /** The age that this knowledge can have, in milliseconds. `undefined` if nothing is proven about it. */
  age(moment: Moment): number | undefined {
    const latest = this.latest(moment);
    const isUnproven = this.exchanges.length === 0 || this.at === 0 || this.hasJumped(latest);
    return isUnproven ? undefined : Math.max(latest - this.at, 0);
  }

  /** The state at this moment. */
  state(moment: Moment): State {
    if (!this.hasSnapshot) return "unknown";
    const age = this.age(moment);
    return age !== undefined && age <= this.maxAge ? "fresh" : "stale";
  }

  /** True if a stale service can still accept tokens, because its owner chose so. */
  isOpen(moment: Moment): boolean {
    const age = this.age(moment);
    return this.openFor !== undefined && age !== undefined && age <= this.maxAge + this.openFor;
  }

  /** The time by which tokens are judged, in seconds: no clock that is behind makes a token valid again. */
  judgedAt(moment: Moment): number {
    return Math.floor(Math.max(moment.wall, this.newestAt) / 1000);
  }

  /** True if the token, its session, its key or its user's tokens up to a time are refused. */
  refuses(claims: Claims, kid: string): boolean {
    return (
      this.list.denies(hashOf("jti", claims.jti)) ||
      (claims.sid !== undefined && this.list.denies(hashOf("sid", claims.sid))) ||
      claims.issuedAtMillis <= this.list.cutOf(hashOf("sub", claims.sub)) ||
      this.list.refusesKey(hashOf("key", kid))
    );
  }
}
