/**
 * The revocation list in memory: hashes of ids, without names. Most entries are in arrays that are sorted by the hash: 12
 * bytes each. The newest are in a hash table, and are merged into the arrays when there are many.
 */

import { createHash } from "node:crypto";

/** The number of bytes of a record: `kind u8, 0 u8, at u48, until u32, hash u64`, big-endian. */
export const RECORD = 20;
export const DENY = 1;
export const CUT = 2;
export const LIFT = 3;
export const KEY = 4;
/** The number of newest entries in the table. */
export const NEWEST = 65_536;

/** The hash of an id, in two halves: numbers of 32 bits are compared faster than those of 64. */
export interface Hash {
  high: number;
  low: number;
}

/** The hash of an id, as records contain it. */
export function hashOf(kind: "jti" | "sid" | "sub" | "key", subject: string): Hash {
  const digest = createHash("sha256").update(`${kind}:${subject}`).digest();
  return { high: digest.readUInt32BE(0), low: digest.readUInt32BE(4) };
}

function nameOf(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}

/** A hash table of a fixed size, with open addressing. A third of it is used at most. */
class Newest {
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly until: Uint32Array;
  /** 0 for a place that was never used, 1 for an entry, 2 for one that was removed. */
  readonly used: Uint8Array;
  size = 0;
  private taken = 0;
  private readonly mask: number;

  constructor(private readonly limit: number) {
    const capacity = 2 ** Math.ceil(Math.log2(limit * 2));
    this.mask = capacity - 1;
    this.high = new Uint32Array(capacity);
    this.low = new Uint32Array(capacity);
    this.until = new Uint32Array(capacity);
    this.used = new Uint8Array(capacity);
  }

  get isFull(): boolean {
    return this.taken >= this.limit;
  }

  find(high: number, low: number): number {
    for (let place = low & this.mask; this.used[place] !== 0; place = (place + 1) & this.mask) {
      if (this.used[place] === 1 && this.low[place] === low && this.high[place] === high) return place;
    }
    return -1;
  }

  add(high: number, low: number, until: number): void {
    const known = this.find(high, low);
    if (known >= 0) {
      this.until[known] = Math.max(until, this.until[known] ?? 0);
      return;
    }
    let place = low & this.mask;
    while (this.used[place] !== 0) place = (place + 1) & this.mask;
    this.high[place] = high;
    this.low[place] = low;
    this.until[place] = until;
    this.used[place] = 1;
    this.size += 1;
    this.taken += 1;
  }

  remove(place: number): void {
    this.used[place] = 2;
    this.size -= 1;
  }

  clear(): void {
    this.used.fill(0);
    this.size = this.taken = 0;
  }

  /** The entries, sorted by the hash. */
  sorted(): Sorted {
    const hashes = new BigUint64Array(this.size);
    let count = 0;
    this.used.forEach((used, place) => {
      if (used === 1) hashes[count++] = nameOf(this.high[place] ?? 0, this.low[place] ?? 0);
    });
    hashes.sort();
    const sorted = new Sorted(count);
    hashes.forEach((hash, index) => {
      const [high, low] = [Number(hash >> 32n), Number(hash & 0xffff_ffffn)];
      sorted.set(index, high, low, this.until[this.find(high, low)] ?? 0);
    });
    return sorted;
  }
}

/** Entries that are sorted by the hash. */
class Sorted {
  high: Uint32Array;
  low: Uint32Array;
  until: Uint32Array;

  constructor(readonly length: number) {
    this.high = new Uint32Array(length);
    this.low = new Uint32Array(length);
    this.until = new Uint32Array(length);
  }

  set(index: number, high: number, low: number, until: number): void {
    this.high[index] = high;
    this.low[index] = low;
    this.until[index] = until;
  }

  /** The place of a hash, or of the first entry after it, from `start` on. */
  place(high: number, low: number, start = 0): number {
    let [first, last] = [start, this.length];
    while (first < last) {
      const middle = (first + last) >>> 1;
      const own = this.high[middle] ?? 0;
      if (own < high || (own === high && (this.low[middle] ?? 0) < low)) first = middle + 1;
      else last = middle;
    }
    return first;
  }

  find(high: number, low: number): number {
    const place = this.place(high, low);
    return this.high[place] === high && this.low[place] === low ? place : -1;
  }

  copy(from: Sorted, start: number, end: number, to: number): void {
    this.high.set(from.high.subarray(start, end), to);
    this.low.set(from.low.subarray(start, end), to);
    this.until.set(from.until.subarray(start, end), to);
  }

  /** The entries of both. None is in both. */
  merged(newer: Sorted): Sorted {
    const merged = new Sorted(this.length + newer.length);
    let [start, to] = [0, 0];
    for (let index = 0; index < newer.length; index += 1) {
      const place = this.place(newer.high[index] ?? 0, newer.low[index] ?? 0, start);
      merged.copy(this, start, place, to);
      to += place - start;
      start = place;
      merged.copy(newer, index, index + 1, to);
      to += 1;
    }
    merged.copy(this, start, this.length, to);
    return merged;
  }

  filtered(keep: (index: number) => boolean): Sorted {
    let count = 0;
    for (let index = 0; index < this.length; index += 1) if (keep(index)) count += 1;
    if (count === this.length) return this;
    const kept = new Sorted(count);
    for (let index = 0, to = 0; index < this.length; index += 1) {
      if (keep(index)) kept.set(to++, this.high[index] ?? 0, this.low[index] ?? 0, this.until[index] ?? 0);
    }
    return kept;
  }
}

interface Cut {
  at: number;
  until: number;
}

/** The changes of a batch of records: what holds after all of them. A lift is followed by what still holds. */
interface Batch {
  denied: Map<bigint, number>;
  cuts: Map<bigint, Cut>;
  keys: Map<bigint, number>;
  lifted: Set<bigint>;
}

/** The tokens, sessions, users and keys that are refused. */
export class RevocationList {
  private sorted = new Sorted(0);
  private readonly newest: Newest;
  private readonly cuts = new Map<bigint, Cut>();
  private readonly keys = new Map<bigint, number>();
  private droppedBefore = 0;

  constructor(limit = NEWEST) {
    this.newest = new Newest(limit);
  }

  /** The number of entries. */
  get size(): number {
    return this.sorted.length + this.newest.size + this.cuts.size + this.keys.size;
  }

  /** True if the token or the session with this hash is refused. */
  denies({ high, low }: Hash): boolean {
    return this.newest.find(high, low) >= 0 || this.sorted.find(high, low) >= 0;
  }

  /** The time in milliseconds up to which the tokens of a user are refused, or -1. */
  cutOf({ high, low }: Hash): number {
    return this.cuts.get(nameOf(high, low))?.at ?? -1;
  }

  /** True if the tokens of the key with this hash are refused. */
  refusesKey({ high, low }: Hash): boolean {
    return this.keys.has(nameOf(high, low));
  }

  /**
   * Applies records in their order. Returns true if the keys must be read again. It throws, and changes nothing, if the
   * bytes are no records.
   */
  apply(records: Buffer): boolean {
    check(records);
    return this.applyBatch(records);
  }

  /** Like `apply`, for many records: it lets requests in between. */
  async applyMany(records: Buffer): Promise<boolean> {
    check(records);
    let keysChanged = false;
    const step = RECORD * 8_192;
    for (let start = 0; start < records.length; start += step) {
      keysChanged = this.applyBatch(records.subarray(start, start + step)) || keysChanged;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return keysChanged;
  }

  private applyBatch(records: Buffer): boolean {
    const batch: Batch = { denied: new Map(), cuts: new Map(), keys: new Map(), lifted: new Set() };
    for (let start = 0; start < records.length; start += RECORD) {
      const [at, until] = [records.readUIntBE(start + 2, 6), records.readUInt32BE(start + 8)];
      const hash = records.readBigUInt64BE(start + 12);
      switch (records[start]) {
        case DENY:
          batch.denied.set(hash, Math.max(until, batch.denied.get(hash) ?? 0));
          break;
        case CUT:
          batch.cuts.set(hash, later({ at, until }, batch.cuts.get(hash)));
          break;
        case KEY:
          batch.keys.set(hash, Math.max(until, batch.keys.get(hash) ?? 0));
          break;
        default:
          batch.lifted.add(hash);
          for (const table of [batch.denied, batch.cuts, batch.keys]) table.delete(hash);
      }
    }
    this.lift(batch);
    for (const [hash, until] of batch.denied) this.deny(hash, until);
    for (const [hash, cut] of batch.cuts) this.cuts.set(hash, later(cut, this.cuts.get(hash)));
    for (const [hash, until] of batch.keys) this.keys.set(hash, Math.max(until, this.keys.get(hash) ?? 0));
    return batch.keys.size > 0;
  }

  private lift({ lifted }: Batch): void {
    const gone = new Set<number>();
    for (const hash of lifted) {
      const [high, low] = [Number(hash >> 32n), Number(hash & 0xffff_ffffn)];
      const [recent, place] = [this.newest.find(high, low), this.sorted.find(high, low)];
      if (recent >= 0) this.newest.remove(recent);
      if (place >= 0) gone.add(place);
      this.cuts.delete(hash);
      this.keys.delete(hash);
    }
    if (gone.size > 0) this.sorted = this.sorted.filtered((index) => !gone.has(index));
  }

  private deny(hash: bigint, until: number): void {
    const [high, low] = [Number(hash >> 32n), Number(hash & 0xffff_ffffn)];
    const place = this.sorted.find(high, low);
    if (place >= 0) this.sorted.until[place] = Math.max(until, this.sorted.until[place] ?? 0);
    else this.newest.add(high, low, until);
    if (this.newest.isFull) this.merge();
  }

  private merge(): void {
    this.sorted = this.sorted.merged(this.newest.sorted());
    this.newest.clear();
  }

  /** Drops the entries whose last token expired before `time`, in seconds of the issuer's clock. */
  dropBefore(time: number): void {
    if (time <= this.droppedBefore) return;
    this.droppedBefore = time;
    const sorted = this.sorted;
    this.sorted = sorted.filtered((index) => (sorted.until[index] ?? 0) >= time);
    const { used, until } = this.newest;
    used.forEach((one, place) => {
      if (one === 1 && (until[place] ?? 0) < time) this.newest.remove(place);
    });
    for (const [hash, until] of this.keys) if (until < time) this.keys.delete(hash);
    for (const [hash, cut] of this.cuts) if (cut.until < time) this.cuts.delete(hash);
  }
}

function later(cut: Cut, known: Cut | undefined): Cut {
  return known === undefined ? cut : { at: Math.max(cut.at, known.at), until: Math.max(cut.until, known.until) };
}

function check(records: Buffer): void {
  if (records.length % RECORD !== 0) throw new RangeError("the last record is not whole");
  for (let start = 0; start < records.length; start += RECORD) {
    const kind = records[start] ?? 0;
    if (kind < DENY || kind > KEY || records[start + 1] !== 0) throw new RangeError("a record has an unknown kind");
  }
}
