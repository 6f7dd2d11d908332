/** The keys of the issuer, as the service knows them. */

import type { Client } from "./client.js";
import { type Moment, since } from "./feed.js";
import { Key, parseJwks } from "./keys.js";

/** How often the keys are read, and how long they serve while the issuer is away, in milliseconds. */
export const TIMES = { readEvery: 300_000, serve: 86_400_000, retry: 10_000, retryFirst: 1_000 };

/** The secret, or the published keys of the issuer. A failed read empties nothing. */
export class KeyStore {
  private readonly fixed: Map<string, Key> | undefined;
  private keys: ReadonlyMap<string, Key> = new Map();
  private etag: string | undefined;
  private read: Moment | undefined;
  private tried: Moment | undefined;
  private wait = 0;

  constructor(secret: string | undefined) {
    if (secret !== undefined) {
      this.fixed = new Map([Key.hs256(secret), Key.refresh(secret)].map((key) => [key.kid, key]));
    }
  }

  /** True if the keys come from the issuer. */
  get arePublished(): boolean {
    return this.fixed === undefined;
  }

  /** The keys, or `undefined` if they are not known, or were read too long ago. */
  current(moment: Moment): ReadonlyMap<string, Key> | undefined {
    if (this.fixed !== undefined) return this.fixed;
    const age = this.age(moment);
    return age !== undefined && age <= TIMES.serve ? this.keys : undefined;
  }

  /** The time since the published keys were read, in milliseconds. */
  age(moment: Moment): number | undefined {
    return this.read === undefined ? undefined : since(moment, this.read);
  }

  /** Replaces the keys. */
  set(keys: ReadonlyMap<string, Key>, moment: Moment): void {
    this.keys = keys;
    this.read = this.tried = moment;
    this.wait = TIMES.readEvery;
  }

  /** True if the keys must be read now. */
  isDue(moment: Moment): boolean {
    return this.arePublished && (this.tried === undefined || since(moment, this.tried) >= this.wait);
  }

  /** Makes the next read due at once. */
  hurry(): void {
    this.wait = 0;
  }

  /** Reads the keys. It throws, and keeps the old keys, if the new ones cannot be used. */
  async fetch(client: Client, moment: Moment, timeout: number, isBackground: boolean): Promise<void> {
    this.tried = moment;
    this.wait = (this.read === undefined ? TIMES.retryFirst : TIMES.retry) * (0.5 + Math.random() / 2);
    const headers: Record<string, string> = this.etag === undefined ? {} : { "If-None-Match": this.etag };
    const answer = await client.get("/.well-known/jwks.json", { headers, timeout, isBackground });
    if (answer.status === 200) {
      this.keys = await parseJwks(answer.body);
      this.etag = answer.etag;
    } else if (this.read === undefined) throw new TypeError("the keys did not change, but they were never read");
    this.read = moment;
    this.wait = TIMES.readEvery;
  }
}
