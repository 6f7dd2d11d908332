/** The verifier of a service: it checks tokens here, and follows the feed of revocations. */

import type { Claims } from "./claims.js";
import { Client } from "./client.js";
import { Feed, type Moment, since, type State } from "./feed.js";
import { type Context, Follower, pull } from "./follower.js";
import { KeyStore } from "./key-store.js";
import type { Key } from "./keys.js";
import { Metrics } from "./metrics.js";
import { MissingScope, NotFresh, NoToken, Refused, Unavailable } from "./refusal.js";
import { type Environment, type Options, type Settings, settingsOf } from "./settings.js";
import { split, Verifier } from "./verifier.js";

/** In milliseconds: how long a start waits, and how often the keys are read because a token names an unknown one. */
export const TIMES = { startWait: 5_000, unknownKeyEvery: 10_000 };

/** What a verifier knows. Issuers for tests replace it. */
export interface Knowledge {
  verifier: Verifier;
  keys: KeyStore;
  feed: Feed | undefined;
  /** Issuers for tests tell the time of their clock here. */
  beat: (() => void) | undefined;
}

/** Verifies access tokens of Tessera in this process, and knows within a second which were revoked. */
export class Tessera {
  readonly settings: Readonly<Settings>;
  /** For issuers of tests. */
  knowledge: Knowledge;
  private readonly counters = new Metrics();
  private readonly client: Client;
  private follower: Follower | undefined;
  private starting: Promise<void> | undefined;
  private isStopped = false;
  private becameReady: () => void = () => undefined;
  private fetchedForUnknownKey: Moment | undefined;
  private fetching: Promise<void> | undefined;
  private pulling: Promise<void> | undefined;
  private pullFailed: Moment | undefined;

  /** Reads what the options do not have from the environment. Throws a `SettingsError` that names the variable. */
  constructor(options: Options = {}, environment: Environment = process.env) {
    // The secrets go to those who need them, and stay out of what an error report or a log can show.
    const { secret, feedToken, ...settings } = settingsOf(options, environment);
    this.settings = settings;
    const { issuer, audiences, leeway, maxAge, openFor, whenStale, feed } = settings;
    this.client = new Client(issuer, feedToken);
    this.knowledge = {
      verifier: new Verifier(issuer, audiences, leeway),
      keys: new KeyStore(secret),
      feed: feed ? new Feed(maxAge, whenStale === "open" ? openFor : undefined) : undefined,
      beat: undefined,
    };
  }

  /**
   * Starts to follow the feed, and waits up to 5 seconds until the service can answer. Calling it is optional: the first
   * request starts it too. It keeps no process alive afterwards.
   */
  start(): Promise<void> {
    if (this.starting === undefined || this.isStopped) this.starting = this.startOnce();
    return this.starting;
  }

  private async startOnce(): Promise<void> {
    this.isStopped = false;
    const { feed, keys, beat } = this.knowledge;
    const hasWork = feed !== undefined || keys.arePublished;
    if (beat !== undefined || this.settings.mode === "pull" || !hasWork) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.settings.warn(`Tessera did not answer within ${TIMES.startWait} ms: requests get 503 until it does`);
        resolve();
      }, TIMES.startWait);
      this.becameReady = () => {
        clearTimeout(timer);
        resolve();
      };
      this.follower = new Follower(this.context(() => this.changed()));
      this.follower.start();
    });
    this.becameReady = () => undefined;
  }

  private context(changed: () => void): Context {
    const { feed, keys } = this.knowledge;
    const { clock, warn } = this.settings;
    return { client: this.client, feed, keys, clock, warn, changed, resynced: (why) => this.counters.resynced(why) };
  }

  private changed(): void {
    const { feed, keys } = this.knowledge;
    const moment = this.settings.clock();
    const isKnown = feed === undefined || feed.state(moment) === "fresh";
    if (isKnown && keys.current(moment) !== undefined) this.becameReady();
  }

  /** Stops following the feed. From then on the service is stale. */
  stop(): void {
    this.starting ??= Promise.resolve();
    this.isStopped = true;
    this.follower?.stop();
    this.becameReady();
  }

  /** What the service can say about revocations now. */
  get state(): State {
    this.knowledge.beat?.();
    return this.knowledge.feed?.state(this.settings.clock()) ?? "off";
  }

  /** The metrics in the text format of Prometheus. */
  metrics(): string {
    this.knowledge.beat?.();
    return this.counters.text(this.knowledge.feed, this.knowledge.keys, this.settings.clock());
  }

  /** Verifies an access token. It throws a `Denied` if the request must be refused. */
  async verify(token: string | undefined): Promise<Claims> {
    return this.counted(async () => {
      if (token === undefined) throw new NoToken();
      await (this.starting ?? this.start());
      if (this.mustPull()) await this.pullOnce();
      try {
        return await this.judge(token);
      } catch (error) {
        if (!this.fetchesFor(error)) throw error;
      }
      await this.fetchForUnknownKey();
      return this.judge(token);
    });
  }

  private async counted<T>(check: () => T | Promise<T>): Promise<T> {
    try {
      return await check();
    } catch (error) {
      if (error instanceof Refused || error instanceof Unavailable) this.counters.refused(error.reason);
      throw error;
    }
  }

  /** The time by which tokens are judged, in seconds: no clock that is behind makes a token valid again. */
  private now(): number {
    const moment = this.settings.clock();
    return this.knowledge.feed?.judgedAt(moment) ?? Math.floor(moment.wall / 1000);
  }

  private async judge(token: string): Promise<Claims> {
    const { verifier, keys, feed, beat } = this.knowledge;
    beat?.();
    const known: ReadonlyMap<string, Key> | undefined = keys.current(this.settings.clock());
    if (known === undefined) {
      split(token);
      throw new Unavailable();
    }
    const [claims, kid] = await verifier.verify(token, known, () => this.now());
    return feed === undefined ? claims : this.judgeRevoked(feed, claims, kid);
  }

  private judgeRevoked(feed: Feed, claims: Claims, kid: string): Claims {
    const moment = this.settings.clock();
    // The list refuses in every state.
    if (feed.refuses(claims, kid)) throw new Refused("token_revoked");
    const state = feed.state(moment);
    if (state === "fresh") return claims;
    if (state === "stale" && feed.isOpen(moment)) {
      this.counters.acceptedStale();
      return claims.markedStale();
    }
    throw new Unavailable();
  }

  /** Returns the claims, or throws `NotFresh` if the user gave no password within `freshFor` seconds. */
  requireFresh(claims: Claims): Claims {
    const { freshFor } = this.settings;
    if (!claims.isFresh(freshFor, this.now())) throw new NotFresh(freshFor);
    return claims;
  }

  /** Returns the claims, or throws `MissingScope`. */
  requireScope(claims: Claims, scope: string): Claims {
    if (!claims.hasScope(scope)) throw new MissingScope(scope);
    return claims;
  }

  private mustPull(): boolean {
    const { feed, keys, beat } = this.knowledge;
    if (this.settings.mode !== "pull" || beat !== undefined) return false;
    const moment = this.settings.clock();
    return (feed !== undefined && feed.state(moment) !== "fresh") || keys.isDue(moment);
  }

  /** One fetch before the verdict, which all waiting requests share. */
  private pullOnce(): Promise<void> {
    this.pulling ??= this.pullNow().finally(() => (this.pulling = undefined));
    return this.pulling;
  }

  private async pullNow(): Promise<void> {
    const { feed, keys } = this.knowledge;
    const moment = this.settings.clock();
    if (this.pullFailed !== undefined && since(moment, this.pullFailed) < 1_000) return;
    this.pullFailed = undefined;
    try {
      if (feed !== undefined && feed.state(moment) !== "fresh") {
        if (await pull(this.context(() => undefined), feed)) keys.hurry();
      }
      if (keys.isDue(moment)) await keys.fetch(this.client, moment, TIMES.startWait / 2, false);
    } catch (error) {
      this.pullFailed = this.settings.clock();
      this.settings.warn(`Tessera could not be asked: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** True if the keys are read again before this refusal is final. */
  private fetchesFor(error: unknown): boolean {
    const isUnknown = error instanceof Refused && error.reason === "key_unknown" && this.knowledge.keys.arePublished;
    if (!isUnknown || this.knowledge.beat !== undefined) return false;
    const last = this.fetchedForUnknownKey;
    return this.fetching !== undefined || last === undefined || since(this.settings.clock(), last) >= TIMES.unknownKeyEvery;
  }

  /** One fetch in 10 seconds in all. Requests that arrive meanwhile share it. */
  private fetchForUnknownKey(): Promise<void> {
    if (this.fetching === undefined) {
      const moment = this.settings.clock();
      this.fetchedForUnknownKey = moment;
      const fetching = this.knowledge.keys.fetch(this.client, moment, 2_000, false);
      const warn = (error: Error): void => this.settings.warn(`the keys of Tessera could not be read: ${error.message}`);
      this.fetching = fetching.catch(warn).finally(() => (this.fetching = undefined));
    }
    return this.fetching;
  }
}
