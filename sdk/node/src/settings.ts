/** The settings of a service, from its environment. Errors name the variable, and never its value. */

import { readFileSync } from "node:fs";

import type { Moment } from "./feed.js";

const MIN_SECRET = 32;

/** A setting is missing or wrong. The text names the variable. */
export class SettingsError extends Error {
  override readonly name = "SettingsError";
}

/** The options of a service. Those that have a variable are read from the environment if they are missing. */
export interface Options {
  /** The URL of Tessera, its `PUBLIC_URL`. `TESSERA_ISSUER` */
  issuer?: string;
  /** The audience of the tokens, or several. `TESSERA_AUDIENCE` */
  audience?: string | readonly string[];
  /** The secret of HS256 tokens. Without it, the published keys are read. `TESSERA_SECRET` */
  secret?: string;
  /** An API token with the scope `revocations:read`. `TESSERA_FEED_TOKEN` */
  feedToken?: string;
  /** False to accept tokens until they expire. `TESSERA_FEED=off`, or `on` or `pull` */
  feed?: boolean;
  /** The age in seconds up to which the feed is fresh: 5. */
  maxAge?: number;
  /** Whether a stale service refuses tokens with 503 (`closed`, the default), or accepts and marks them (`open`). */
  whenStale?: "closed" | "open";
  /** How long a stale service accepts tokens, in seconds: 900. */
  openFor?: number;
  /** How long a token is fresh after a password, in seconds: 900. */
  freshFor?: number;
  /** By how many seconds the issuer's clock can be ahead: 2. */
  leeway?: number;
  /**
   * `pull` asks within a request, if the feed is too old. It is for functions that run only while they answer.
   * `TESSERA_FEED=pull`
   */
  mode?: "stream" | "pull";
  /** Where warnings go. By default, the console. */
  warn?: (message: string) => void;
  /** The clocks of this machine, for tests. */
  clock?: () => Moment;
}

/** What no text about a verifier may show. */
export interface Secrets {
  secret: string | undefined;
  feedToken: string | undefined;
}

/** The settings of a service. */
export interface Settings {
  issuer: string;
  audiences: readonly string[];
  feed: boolean;
  maxAge: number;
  whenStale: "closed" | "open";
  openFor: number;
  freshFor: number;
  leeway: number;
  mode: "stream" | "pull";
  warn: (message: string) => void;
  clock: () => Moment;
}

/** The variables of a process. */
export type Environment = Record<string, string | undefined>;

function normalizeIssuer(issuer: string): string {
  const url = URL.canParse(issuer.trim()) ? new URL(issuer.trim()) : undefined;
  const isGood = url !== undefined && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "";
  if (!isGood || url.username !== "" || url.password !== "") {
    throw new SettingsError("TESSERA_ISSUER must be the URL of Tessera (its PUBLIC_URL), such as https://id.example.com");
  }
  if (url.protocol === "http:" && !isLoopback(url.href)) {
    throw new SettingsError(
      "TESSERA_ISSUER begins with http, so anybody on the network path could hide revocations and send false keys: " +
        "set it to a URL with https",
    );
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

function isLoopback(issuer: string): boolean {
  const host = new URL(issuer).hostname;
  return host === "localhost" || host === "[::1]" || /^127(\.\d+){3}$/.test(host);
}

/** A variable, or the content of the file that the variable with `_FILE` names, which takes precedence. */
function valueOf(environment: Environment, name: string): string | undefined {
  const file = environment[`${name}_FILE`] ?? "";
  const text = file.trim() === "" ? environment[name] ?? "" : contentOf(`${name}_FILE`, file);
  return text.trim() === "" ? undefined : text;
}

function contentOf(name: string, file: string): string {
  try {
    return readFileSync(file, "utf8").replace(/[\r\n]+$/, "");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "error";
    throw new SettingsError(`${name} names a file that cannot be read (${code})`);
  }
}

function audiencesOf(audience: string | readonly string[] | undefined, environment: Environment): readonly string[] {
  const text = valueOf(environment, "TESSERA_AUDIENCE") ?? "";
  const listed = text.split(",").map((part) => part.trim()).filter((part) => part !== "");
  const audiences = audience === undefined ? listed : typeof audience === "string" ? [audience] : audience;
  if (audiences.length === 0 || audiences.includes("")) {
    throw new SettingsError(
      "TESSERA_AUDIENCE is missing: set it to the audience of the tokens, which is JWT_AUDIENCE of Tessera",
    );
  }
  return audiences;
}

function feedOf(options: Options, environment: Environment): { feed: boolean; mode: "stream" | "pull" } {
  const feed = options.feed === undefined || options.mode === undefined ? valueOf(environment, "TESSERA_FEED") : undefined;
  if (![undefined, "on", "pull", "off"].includes(feed)) throw new SettingsError("TESSERA_FEED must be on, pull or off");
  return { feed: options.feed ?? feed !== "off", mode: options.mode ?? (feed === "pull" ? "pull" : "stream") };
}

function systemClock(): Moment {
  return { monotonic: performance.now(), wall: Date.now() };
}

/** Reads the settings: those of the options, and the others from the environment. */
export function settingsOf(options: Options, environment: Environment): Settings & Secrets {
  const issuer = options.issuer ?? valueOf(environment, "TESSERA_ISSUER");
  if (issuer === undefined) {
    throw new SettingsError("TESSERA_ISSUER is missing: set it to the URL of Tessera, such as https://id.example.com");
  }
  const settings: Settings & Secrets = {
    issuer: normalizeIssuer(issuer),
    audiences: audiencesOf(options.audience, environment),
    secret: options.secret ?? valueOf(environment, "TESSERA_SECRET"),
    feedToken: options.feedToken ?? valueOf(environment, "TESSERA_FEED_TOKEN"),
    ...feedOf(options, environment),
    maxAge: options.maxAge ?? 5,
    whenStale: options.whenStale ?? "closed",
    openFor: options.openFor ?? 900,
    freshFor: options.freshFor ?? 900,
    leeway: options.leeway ?? 2,
    warn: options.warn ?? ((message) => console.warn(`tessera-verify: ${message}`)),
    clock: options.clock ?? systemClock,
  };
  check(settings);
  return settings;
}

function check(settings: Settings & Secrets): void {
  const { secret, feedToken, maxAge, openFor, freshFor, leeway } = settings;
  if (secret !== undefined && Buffer.byteLength(secret) < MIN_SECRET) {
    throw new SettingsError(
      `TESSERA_SECRET has fewer than ${MIN_SECRET} bytes: set it to the secret that \`tessera keys derive\` prints`,
    );
  }
  if (settings.feed && feedToken !== undefined && !/^[!-~]+$/.test(feedToken)) {
    throw new SettingsError("TESSERA_FEED_TOKEN must be an API token of Tessera, which begins with tsr_");
  }
  if (!(maxAge > 0 && openFor >= 0 && freshFor >= 0 && leeway >= 0 && leeway <= 60)) {
    throw new SettingsError("maxAge, openFor, freshFor and leeway must be numbers of seconds, and leeway at most 60");
  }
  if (!["closed", "open"].includes(settings.whenStale) || !["stream", "pull"].includes(settings.mode)) {
    throw new SettingsError("whenStale must be closed or open, and mode must be stream or pull");
  }
  checkFeed(settings);
}

/** Refuses a feed without a token. On a developer's machine there can be none. */
function checkFeed(settings: Settings & Secrets): void {
  const { issuer, feedToken, warn } = settings;
  if (settings.feed && feedToken === undefined) {
    if (!isLoopback(issuer)) {
      throw new SettingsError(
        "TESSERA_FEED_TOKEN is missing: set it to an API token with the scope revocations:read, or set TESSERA_FEED=off " +
          "to accept tokens until they expire, even after a logout",
      );
    }
    warn("TESSERA_FEED_TOKEN is missing: this service accepts tokens until they expire, even after a logout");
    settings.feed = false;
  }
}
