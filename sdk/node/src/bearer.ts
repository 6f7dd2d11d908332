/** The token in the header `Authorization`. */

import type { IncomingMessage } from "node:http";

import { Refused } from "./refusal.js";

/** The values of the headers `Authorization`. Node itself keeps only the first one. */
export function authorizations(request: Pick<IncomingMessage, "rawHeaders" | "headers">): string[] {
  const raw = request.rawHeaders ?? [];
  const values = raw.filter((_, index) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === "authorization");
  const one = request.headers.authorization;
  return values.length === 0 && one !== undefined ? [one] : values;
}

/**
 * The token in the headers `Authorization` (RFC 6750, section 2.1), or `undefined` if there is no such header. A header
 * without a token is refused, and so are two headers.
 */
export function bearer(values: readonly string[]): string | undefined {
  const [value] = values;
  if (value === undefined) return undefined;
  const [, scheme, token] = /^([^ ]*) [ \t]*([\t -~]*?)[ \t]*$/.exec(value) ?? [];
  if (values.length > 1 || scheme?.toLowerCase() !== "bearer" || token === undefined || token === "") {
    throw new Refused("token_malformed");
  }
  return token;
}
