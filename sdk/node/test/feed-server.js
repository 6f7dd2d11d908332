// A small server with the keys and the revocation feed of an issuer. Tests can delay it, stop it and move its clock.

import { once } from "node:events";
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";

import { recordBytes } from "../dist/feed.js";
import { hashOf } from "../dist/list.js";

export const TOKEN = "tsr_of_the_feed";
const KINDS = [undefined, "deny", "cut", "lift", "key"];

export function hexOf(kind, id) {
  const { high, low } = hashOf(kind, id);
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}

export class FeedServer {
  records = [];
  epoch = "first";
  keys = [];
  heartbeat = 50;
  /** Added to the issuer's clock, in milliseconds. */
  clock = 0;
  /** How far the reads of the server are behind, and its stream, in milliseconds. */
  behind = 0;
  late = 0;
  /** How many events with records get lost on the way, and whether the server says where each event begins. */
  lost = 0;
  saysAfter = true;
  held = false;
  down = false;
  /** The status and the header `Retry-After` of a server that wants to be asked later, and for which paths. */
  busy = undefined;
  busyPaths = ["/auth/revocations/stream"];
  /** True if the server never goes on from a place, and if a stream ends after its first event. */
  gone = false;
  brief = false;
  truncated = false;
  jwksDelay = 0;
  requests = [];
  times = [];
  streams = new Set();

  async start(port = 0) {
    this.server = createServer((request, response) => this.answer(request, response));
    this.server.listen(port, "127.0.0.1");
    await once(this.server, "listening");
    return this;
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  stop() {
    this.cut();
    this.server.close();
    this.server.closeAllConnections();
  }

  now() {
    return Math.floor(Date.now() + this.clock);
  }

  cut() {
    for (const stream of this.streams) stream.destroy();
  }

  append(kind, hash, at = this.now(), until = Math.floor(at / 1000) + 900) {
    this.records.push(recordBytes(kind, hash, at, until));
    for (const stream of this.streams) stream.push();
  }

  endSession(sid) {
    this.append(1, hexOf("sid", sid));
  }

  asked(path) {
    return this.requests.filter((request) => request === path).length;
  }

  /** When requests for a path arrived, in milliseconds. */
  timesOf(path) {
    return this.times.filter((_, index) => this.requests[index] === path);
  }

  cursor(place = this.records.length) {
    return `${this.epoch}.${place}.tag`;
  }

  place(cursor) {
    const [epoch, number] = cursor.split(".");
    return epoch === this.epoch && Number(number) <= this.records.length ? Number(number) : undefined;
  }

  answer(request, response) {
    const url = new URL(request.url, "http://x");
    this.requests.push(url.pathname);
    this.times.push(performance.now());
    if (this.down) return request.socket.destroy();
    const send = (status, body, headers = {}) =>
      response.writeHead(status, { "Content-Length": Buffer.byteLength(body), ...headers }).end(body);
    if (this.busy !== undefined && this.busyPaths.includes(url.pathname)) {
      return send(this.busy.status, '{"detail":"SERVICE_BUSY"}', { "Retry-After": this.busy.retryAfter });
    }
    if (url.pathname === "/.well-known/jwks.json") return setTimeout(() => this.jwks(request, response, send), this.jwksDelay);
    if (request.headers.authorization !== `Bearer ${TOKEN}`) return send(401, '{"detail":"Unauthorized"}');
    if (url.pathname.endsWith("/snapshot")) return this.snapshot(send);
    const after = url.searchParams.get("after");
    const place = after === null ? this.records.length : this.place(after);
    if (place === undefined || (this.gone && after !== null)) return send(410, '{"detail":"REVOCATION_CURSOR_GONE"}');
    if (url.pathname.endsWith("/stream")) return this.stream(response, place);
    this.page(send, place, Number(url.searchParams.get("limit") ?? 10_000));
  }

  jwks(request, response, send) {
    const body = JSON.stringify({ keys: this.keys });
    const etag = `"${body.length}-${this.keys.at(-1)?.kid}"`;
    if (request.headers["if-none-match"] === etag) return response.writeHead(304, { ETag: etag }).end();
    send(200, body, { ETag: etag });
  }

  snapshot(send) {
    const cursor = Buffer.from(this.cursor());
    const times = Buffer.alloc(20);
    times.writeBigUInt64BE(BigInt(this.now()), 0);
    times.writeBigUInt64BE(BigInt(this.now() - this.behind), 8);
    times.writeUInt32BE(this.records.length, 16);
    const body = Buffer.concat([Buffer.from("TSRF\x01"), Buffer.from([cursor.length]), cursor, times, ...this.records]);
    const zipped = gzipSync(body);
    send(200, this.truncated ? zipped.subarray(0, -12) : zipped, { "Content-Encoding": "gzip" });
  }

  page(send, place, limit) {
    const entries = this.records.slice(place, place + limit).map((record) => ({
      kind: KINDS[record[0]], hash: record.toString("hex", 12), at: record.readUIntBE(2, 6), until: record.readUInt32BE(8),
    }));
    const cursor = this.cursor(place + entries.length);
    const at = place + entries.length === this.records.length ? this.now() - this.behind : 0;
    send(200, JSON.stringify({ cursor, now: this.now(), at, entries }));
  }

  stream(response, place) {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    const push = () => {
      if (this.held) return;
      const records = Buffer.concat(this.records.slice(place)).toString("base64");
      const after = this.saysAfter ? this.cursor(place) : undefined;
      place = this.records.length;
      if (records !== "" && this.lost > 0) {
        this.lost -= 1;
        return;
      }
      const now = this.now() - this.late;
      const data = { after, cursor: this.cursor(place), now, at: now - this.behind, records };
      response.write(`id: ${data.cursor}\ndata: ${JSON.stringify(data)}\n\n`);
    };
    push();
    if (this.brief) return response.end();
    const timer = setInterval(push, this.heartbeat);
    const stream = { push, destroy: () => response.destroy() };
    this.streams.add(stream);
    response.on("close", () => {
      clearInterval(timer);
      this.streams.delete(stream);
    });
  }
}
