/** Requests to the issuer, with what Node has. They follow no redirects and use no proxy. */

import { request as requestHttp, type IncomingMessage, type RequestOptions } from "node:http";
import { request as requestHttps } from "node:https";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";

/** The longest answer that is not a snapshot: a page has at most about 1,000 entries. */
const MAX_ANSWER = 4 * 1024 * 1024;
/** The longest snapshot: 12 million records. */
export const MAX_SNAPSHOT = 256 * 1024 * 1024;
const MAX_LINE = 8 * 1024 * 1024;

const inflate = promisify(gunzip);

/** The issuer answered with an error. */
export class AnswerError extends Error {
  constructor(
    readonly status: number,
    path: string,
    detail: string,
    /** In seconds. */
    readonly retryAfter: number | undefined,
  ) {
    super(`${path.split("?")[0]} answered ${status}${detail === "" ? "" : ` ${detail}`}`);
  }
}

/** An answer of the issuer. */
export interface Answer {
  status: number;
  etag: string | undefined;
  body: Buffer;
}

/** An event of a stream: its data, and the time in milliseconds after which to connect again if it ends. */
export interface StreamEvent {
  data: string;
  retry: number | undefined;
}

interface Sending {
  headers?: Record<string, string>;
  /** The longest silence, in milliseconds. */
  timeout: number;
  limit?: number;
  /** True if the process can end while this request waits. */
  isBackground?: boolean;
}

async function bodyOf(response: IncomingMessage, limit: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > limit) throw new RangeError("the answer is too long");
    parts.push(part);
  }
  const body = Buffer.concat(parts);
  const encoding = response.headers["content-encoding"] ?? "identity";
  if (encoding === "gzip") return inflate(body, { maxOutputLength: limit });
  if (encoding !== "identity") throw new TypeError(`the answer has an encoding that was not asked for: ${encoding}`);
  return body;
}

/** The code that an answer of Tessera contains, if it is a short text. */
function detailOf(body: Buffer): string {
  try {
    const { detail } = JSON.parse(body.toString()) as { detail?: unknown };
    return typeof detail === "string" && /^[ -~]{1,99}$/.test(detail) ? detail : "";
  } catch {
    return "";
  }
}

async function errorOf(response: IncomingMessage, path: string): Promise<AnswerError> {
  const after = response.headers["retry-after"] ?? "";
  const detail = detailOf(await bodyOf(response, 65_536).catch(() => Buffer.alloc(0)));
  return new AnswerError(response.statusCode ?? 0, path, detail, /^\d+$/.test(after) ? Number(after) : undefined);
}

/** Sends requests to the issuer. */
export class Client {
  private readonly issuer: URL;
  /** A field that no inspection of the object shows. */
  readonly #token: string | undefined;

  constructor(issuer: string, token: string | undefined) {
    this.issuer = new URL(issuer);
    this.#token = token;
  }

  /** Sends a GET request. The result is the head of the answer. */
  private open(path: string, sending: Sending): Promise<IncomingMessage> {
    const headers: Record<string, string> = { "Accept-Encoding": "identity", "User-Agent": "tessera-verify-node", ...sending.headers };
    if (this.#token !== undefined && path.startsWith("/auth/")) {
      // An old answer would make the feed seem young.
      Object.assign(headers, { Authorization: `Bearer ${this.#token}`, "Cache-Control": "no-cache" });
    }
    const url = new URL(this.issuer.href.replace(/\/+$/, "") + path);
    const options: RequestOptions = { headers, agent: false };
    return new Promise((resolve, reject) => {
      const request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, options, resolve);
      request.setTimeout(sending.timeout, () => request.destroy(new Error(`${path.split("?")[0]} did not answer`)));
      if (sending.isBackground === true) request.on("socket", (socket) => socket.unref());
      request.on("error", reject);
      request.end();
    });
  }

  /** Sends a request, and receives the answer: 200 or 304. Other answers are an `AnswerError`. */
  async get(path: string, sending: Sending): Promise<Answer> {
    const response = await this.open(path, sending);
    // A server that sends one byte a second must not keep a request open.
    const deadline = setTimeout(() => response.destroy(new Error("the answer takes too long")), 4 * sending.timeout);
    deadline.unref();
    try {
      if (response.statusCode !== 200 && response.statusCode !== 304) throw await errorOf(response, path);
      const body = await bodyOf(response, sending.limit ?? MAX_ANSWER);
      return { status: response.statusCode, etag: response.headers.etag, body };
    } finally {
      clearTimeout(deadline);
      response.destroy();
    }
  }

  /** Opens a stream of events (the format text/event-stream of HTML). */
  async stream(path: string, timeout: number): Promise<IncomingMessage> {
    const headers = { Accept: "text/event-stream" };
    const response = await this.open(path, { headers, timeout, isBackground: true });
    if (response.statusCode !== 200) {
      const error = await errorOf(response, path);
      response.destroy();
      throw error;
    }
    const type = response.headers["content-type"] ?? "";
    if (!type.startsWith("text/event-stream")) {
      response.destroy();
      throw new TypeError(`${path.split("?")[0]} answered ${type === "" ? "without a type" : type}, not events`);
    }
    return response;
  }
}

/** The events of a stream. */
export async function* events(response: IncomingMessage): AsyncGenerator<StreamEvent> {
  let [rest, retry]: [string, number | undefined] = ["", undefined];
  let data: string[] = [];
  response.setEncoding("utf8");
  for await (const part of response as AsyncIterable<string>) {
    const lines = (rest + part).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE) throw new RangeError("an event is too long");
    for (const line of lines.map((line) => line.replace(/\r$/, ""))) {
      if (line === "") {
        yield { data: data.join("\n"), retry };
        [data, retry] = [[], undefined];
        continue;
      }
      const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (name === "data") data.push(value ?? "");
      else if (name === "retry" && /^\d+$/.test(value ?? "")) retry = Number(value);
    }
  }
}
