/** The metrics of a verifier, in the text format of Prometheus. */

import { type Feed, type Moment, STATES } from "./feed.js";
import type { KeyStore } from "./key-store.js";

const PREFIX = "tessera_verify_";

/** Counters. */
export class Metrics {
  private readonly refusals = new Map<string, number>();
  private readonly resyncs = new Map<string, number>();
  private stale = 0;

  /** Counts a refusal. */
  refused(reason: string): void {
    this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
  }

  /** Counts a snapshot that was taken because the place in the feed was lost. */
  resynced(why: string): void {
    this.resyncs.set(why, (this.resyncs.get(why) ?? 0) + 1);
  }

  /** Counts a token that was accepted although the feed is stale. */
  acceptedStale(): void {
    this.stale += 1;
  }

  /** The metrics, one a line. */
  text(feed: Feed | undefined, keys: KeyStore, moment: Moment): string {
    const state = feed === undefined ? "off" : feed.state(moment);
    const states = STATES.map((one) => `${PREFIX}state{state="${one}"} ${one === state ? 1 : 0}`);
    const lines = [`# TYPE ${PREFIX}state gauge`, ...states];
    const gauge = (name: string, value: number | undefined): void => {
      if (value !== undefined) lines.push(`# TYPE ${PREFIX}${name} gauge`, `${PREFIX}${name} ${value}`);
    };
    const seconds = (span: number | undefined): number | undefined => (span === undefined ? undefined : span / 1000);
    if (feed !== undefined) {
      gauge("feed_age_seconds", seconds(feed.age(moment)));
      const sequence = feed.cursor?.split(".")[1] ?? "";
      gauge("feed_seq", /^\d+$/.test(sequence) ? Number(sequence) : undefined);
      gauge("entries", feed.list.size);
    }
    gauge("keys_age_seconds", seconds(keys.age(moment)));
    const counter = (name: string, label: string, counts: Map<string, number>): void => {
      lines.push(`# TYPE ${PREFIX}${name} counter`);
      for (const [key, count] of counts) lines.push(`${PREFIX}${name}{${label}="${key}"} ${count}`);
    };
    counter("refusals_total", "reason", this.refusals);
    counter("resyncs_total", "why", this.resyncs);
    counter("accepted_stale_total", "reason", new Map([["stale", this.stale]]));
    return `${lines.join("\n")}\n`;
  }
}
