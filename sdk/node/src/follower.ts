/** Follows the feed of the issuer, and reads its keys, while the process runs. It keeps no process alive. */

import type { IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { AnswerError, type Client, events, MAX_SNAPSHOT } from "./client.js";
import { type Feed, type Moment, parseEvent, parsePage, parseSnapshot, since } from "./feed.js";
import type { KeyStore } from "./key-store.js";

const PAGE = "/auth/revocations";
/** In milliseconds. The server sends an event every 2 seconds, so a longer silence is a broken connection. */
export const TIMES = {
  silence: 4_000, timeout: 5_000, exchangeEvery: 30_000, exchangeStale: 1_000, firstWait: 100, longestWait: 5_000,
  longestRetry: 30_000,
};

/** What a follower needs, and whom it tells. */
export interface Context {
  client: Client;
  feed: Feed | undefined;
  keys: KeyStore;
  clock: () => Moment;
  warn: (message: string) => void;
  changed: () => void;
  resynced: (why: string) => void;
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Follows the feed until `stop` is called. */
export class Follower {
  private readonly abort = new AbortController();
  private stream: IncomingMessage | undefined;
  private timer: NodeJS.Timeout | undefined;
  private failures = 0;
  private retry: number | undefined;
  private lastSaid = "";
  private exchangedAt: Moment | undefined;
  private isExchanging = false;
  /** The time for which the server does not want to be asked. */
  private pause = 0;
  private isReadingKeys = false;

  constructor(private readonly context: Context) {}

  /** Starts to follow. */
  start(): void {
    this.timer = setInterval(() => this.beside(), 250);
    this.timer.unref();
    this.beside();
    if (this.context.feed !== undefined) void this.run(this.context.feed);
  }

  /** Ends it. */
  stop(): void {
    this.abort.abort();
    clearInterval(this.timer);
    this.stream?.destroy();
  }

  private async run(feed: Feed): Promise<void> {
    while (!this.abort.signal.aborted) {
      let wait = 0;
      try {
        await this.follow(feed);
        // A stream that lasted has set this to zero.
        this.failures += 1;
      } catch (error) {
        wait = error instanceof AnswerError ? (error.retryAfter ?? 0) * 1000 : 0;
        this.failed(error);
      }
      const options = { ref: false, signal: this.abort.signal };
      await sleep(Math.min(wait, TIMES.longestRetry) + this.backoff(), undefined, options).catch(() => undefined);
    }
  }

  /** The time before the next attempt. A server that stops gives each client its own time to come back. */
  private backoff(): number {
    const { firstWait, longestWait, longestRetry } = TIMES;
    const { retry } = this;
    this.retry = undefined;
    if (retry !== undefined) return Math.min(firstWait + retry, longestRetry);
    const longest = Math.min(firstWait * 2 ** Math.min(this.failures, 10), longestWait);
    return firstWait + Math.random() * Math.max(longest - firstWait, 0);
  }

  private failed(error: unknown): void {
    if (this.abort.signal.aborted) return;
    this.failures += 1;
    let text = said(error);
    if (error instanceof AnswerError && [401, 403].includes(error.status)) {
      text += ": TESSERA_FEED_TOKEN must be a valid API token with the scope revocations:read";
    }
    if (text !== this.lastSaid) this.context.warn(`the feed of Tessera could not be read, and is tried again: ${text}`);
    this.lastSaid = text;
  }

  private async follow(feed: Feed): Promise<void> {
    const { client, clock, changed } = this.context;
    if (feed.cursor === undefined) {
      await takeSnapshot(client, feed, clock, true);
      changed();
    }
    const sent = clock();
    const path = `${PAGE}/stream?after=${encodeURIComponent(feed.cursor ?? "")}&v=1`;
    try {
      this.stream = await client.stream(path, TIMES.silence);
    } catch (error) {
      const why = lost(error);
      if (why === undefined) throw error;
      // What this verifier knows stays. The snapshot adds to it.
      feed.cursor = undefined;
      this.context.resynced(why);
      return;
    }
    try {
      if (!this.abort.signal.aborted) await this.receive(feed, this.stream, sent);
    } finally {
      this.stream.destroy();
      this.stream = undefined;
    }
  }

  private async receive(feed: Feed, stream: IncomingMessage, sent: Moment): Promise<void> {
    const { clock, keys, changed } = this.context;
    let [isFirst, dropped] = [true, clock()];
    for await (const { data, retry } of events(stream)) {
      this.retry = retry ?? this.retry;
      if (data === "") continue;
      const event = parseEvent(data);
      const moment = clock();
      if (isFirst) {
        feed.exchanged(sent, event.now);
        this.exchangedAt = sent;
      }
      if (feed.receive(event, moment)) keys.hurry();
      // A connection that brings one event and ends is a failure too.
      if (!isFirst) this.failures = 0;
      [isFirst, this.lastSaid] = [false, ""];
      if (since(moment, dropped) > 60_000) {
        feed.dropExpired();
        dropped = moment;
      }
      changed();
    }
  }

  /** What is asked beside the stream: the keys, and the time of the issuer's clock. */
  private beside(): void {
    const { feed, keys, clock } = this.context;
    const moment = clock();
    if (keys.isDue(moment) && !this.isReadingKeys) void this.readKeys(moment);
    if (feed === undefined || feed.cursor === undefined || this.isExchanging) return;
    const wait = Math.max(feed.state(moment) === "fresh" ? TIMES.exchangeEvery : TIMES.exchangeStale, this.pause);
    if (this.exchangedAt !== undefined && since(moment, this.exchangedAt) >= wait) void this.exchange(feed, moment);
  }

  private async readKeys(moment: Moment): Promise<void> {
    const { client, keys, warn, changed } = this.context;
    this.isReadingKeys = true;
    try {
      await keys.fetch(client, moment, TIMES.timeout, true);
      changed();
    } catch (error) {
      warn(`the keys of Tessera could not be read, and are tried again: ${said(error)}`);
    }
    this.isReadingKeys = false;
  }

  private async exchange(feed: Feed, moment: Moment): Promise<void> {
    const { client } = this.context;
    [this.isExchanging, this.exchangedAt, this.pause] = [true, moment, 0];
    try {
      const answer = await client.get(PAGE, { timeout: TIMES.timeout, isBackground: true });
      feed.exchanged(moment, parsePage(answer.body).now);
    } catch (error) {
      // The feed gets older, and the state tells of it.
      if (error instanceof AnswerError) this.pause = Math.min((error.retryAfter ?? 0) * 1000, TIMES.longestRetry);
    }
    this.isExchanging = false;
  }
}

/** The reason why the place in the feed was lost, if the error says so. */
function lost(error: unknown): string | undefined {
  if (!(error instanceof AnswerError)) return undefined;
  return error.status === 410 ? "gone" : error.status === 400 ? "refused" : undefined;
}

async function takeSnapshot(client: Client, feed: Feed, clock: () => Moment, isBackground: boolean): Promise<void> {
  const sent = clock();
  const headers = { "Accept-Encoding": "gzip", Accept: "application/vnd.tessera.revocations" };
  const sending = { headers, timeout: 2 * TIMES.timeout, limit: MAX_SNAPSHOT, isBackground };
  const event = parseSnapshot((await client.get(`${PAGE}/snapshot?v=1`, sending)).body);
  feed.exchanged(sent, event.now);
  await feed.takeSnapshot(event, clock);
  feed.dropExpired();
}

/** Asks once for what is new, within a request. Returns true if the keys must be read again. */
export async function pull({ client, clock, resynced }: Context, feed: Feed): Promise<boolean> {
  const limit = 1_000;
  let keysChanged = false;
  for (let pages = 0; pages < 100; pages += 1) {
    if (feed.cursor === undefined) {
      await takeSnapshot(client, feed, clock, false);
      return true;
    }
    const sent = clock();
    const path = `${PAGE}?after=${encodeURIComponent(feed.cursor)}&wait=0&limit=${limit}&v=1`;
    try {
      const event = parsePage((await client.get(path, { timeout: TIMES.timeout / 2 })).body);
      feed.exchanged(sent, event.now);
      keysChanged = feed.receive(event, clock()) || keysChanged;
      if (event.at !== 0) break;
    } catch (error) {
      const why = lost(error);
      if (why === undefined) throw error;
      feed.cursor = undefined;
      resynced(why);
    }
  }
  feed.dropExpired();
  return keysChanged;
}
