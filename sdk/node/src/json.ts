/**
 * A strict parser for JSON objects: a member that appears twice is an error, at every depth. `JSON.parse` keeps the last
 * one, and others keep the first. All readers of a token must see the same claims.
 */

/** Serde, which Tessera uses, stops at this depth. */
const MAX_DEPTH = 127;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const BASE64URL = /^[A-Za-z0-9_-]*$/;
const ESCAPES: Record<string, string> = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const MAX_U64 = 2n ** 64n - 1n;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Any JSON value. Objects have no prototype. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** An object, and the names of its members that are whole numbers of 64 bits: in JavaScript, 1 and 1.0 are the same. */
export interface ParsedObject {
  members: { [name: string]: Json };
  integers: Set<string>;
}

class Parser {
  private place = 0;
  /** True if the last number was a whole one, without a sign, of at most 64 bits. */
  private isInteger = false;

  constructor(private readonly text: string) {}

  object(): ParsedObject {
    const integers = new Set<string>();
    this.space();
    if (this.text[this.place] !== "{") throw new SyntaxError("not an object");
    const members = this.members(1, integers);
    this.space();
    if (this.place !== this.text.length) throw new SyntaxError("something follows the object");
    return { members, integers };
  }

  private space(): void {
    while (" \t\n\r".includes(this.text[this.place] ?? "x")) this.place += 1;
  }

  private expect(char: string): void {
    this.space();
    if (this.text[this.place] !== char) throw new SyntaxError(`${char} is missing`);
    this.place += 1;
  }

  private next(): string {
    this.space();
    return this.text[this.place] ?? "";
  }

  private value(depth: number): Json {
    const char = this.next();
    if (char === "{") return this.members(depth + 1);
    if (char === "[") return this.elements(depth + 1);
    if (char === '"') return this.string();
    for (const [word, value] of [["null", null], ["true", true], ["false", false]] as const) {
      if (this.text.startsWith(word, this.place)) {
        this.place += word.length;
        return value;
      }
    }
    return this.number();
  }

  private members(depth: number, integers?: Set<string>): { [name: string]: Json } {
    if (depth > MAX_DEPTH) throw new SyntaxError("the value is nested too deeply");
    const members = Object.create(null) as { [name: string]: Json };
    this.expect("{");
    if (this.next() === "}") this.place += 1;
    else {
      do {
        if (this.next() !== '"') throw new SyntaxError("a name is missing");
        const name = this.string();
        if (name in members) throw new SyntaxError("a member appears twice");
        this.expect(":");
        this.isInteger = false;
        const value = this.value(depth);
        members[name] = value;
        if (typeof value === "number" && this.isInteger) integers?.add(name);
      } while (this.continues("}"));
    }
    return members;
  }

  private elements(depth: number): Json[] {
    if (depth > MAX_DEPTH) throw new SyntaxError("the value is nested too deeply");
    const elements: Json[] = [];
    this.expect("[");
    if (this.next() === "]") this.place += 1;
    else {
      do elements.push(this.value(depth));
      while (this.continues("]"));
    }
    return elements;
  }

  private continues(end: string): boolean {
    const char = this.next();
    this.place += 1;
    if (char !== "," && char !== end) throw new SyntaxError(`${end} is missing`);
    return char === ",";
  }

  private string(): string {
    let string = "";
    this.place += 1;
    for (;;) {
      PLAIN.lastIndex = this.place;
      const plain = PLAIN.exec(this.text)?.[0] ?? "";
      string += plain;
      this.place += plain.length;
      const char = this.text[this.place];
      this.place += 1;
      if (char === '"') break;
      if (char !== "\\") throw new SyntaxError("a text has no end, or a control character");
      string += this.escape();
    }
    if (/\p{Surrogate}/u.test(string)) throw new SyntaxError("a text has half of a surrogate pair");
    return string;
  }

  private escape(): string {
    const char = this.text[this.place] ?? "";
    this.place += 1;
    if (char !== "u") {
      const escape = Object.hasOwn(ESCAPES, char) ? ESCAPES[char] : undefined;
      if (escape === undefined) throw new SyntaxError("an escape is not known");
      return escape;
    }
    const digits = this.text.slice(this.place, this.place + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw new SyntaxError("an escape has no four digits");
    this.place += 4;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }

  private number(): number {
    NUMBER.lastIndex = this.place;
    const text = NUMBER.exec(this.text)?.[0];
    if (text === undefined) throw new SyntaxError("a value is missing");
    this.place += text.length;
    this.isInteger = /^[0-9]+$/.test(text) && BigInt(text) <= MAX_U64;
    const number = Number(text);
    if (!Number.isFinite(number)) throw new SyntaxError("a number is out of range");
    return number;
  }
}

/** Parses an object. Throws if the bytes are something else. */
export function parseObject(data: Uint8Array): ParsedObject {
  return new Parser(decoder.decode(data)).object();
}

/** Decodes canonical base64url without padding. Throws for each other spelling, so that each token has one. */
export function base64url(text: string): Buffer {
  const data = Buffer.from(text, "base64url");
  if (!BASE64URL.test(text) || data.toString("base64url") !== text) throw new SyntaxError("not canonical base64url");
  return data;
}
