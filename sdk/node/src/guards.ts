/** The guards that all frameworks share. */

import type { IncomingMessage } from "node:http";

import { authorizations, bearer } from "./bearer.js";
import type { Claims } from "./claims.js";
import type { Tessera } from "./tessera.js";

/** The headers of a request. */
export type WithHeaders = Pick<IncomingMessage, "rawHeaders" | "headers">;

/** Checks the token of a request. The result is `undefined` if there is none, and none is required. */
export type Check = (request: WithHeaders) => Promise<Claims | undefined>;

/** The checks of the guards. */
export function checks(tessera: Tessera) {
  const required = (request: WithHeaders): Promise<Claims> => tokenOf(request).then((token) => tessera.verify(token));
  return {
    required,
    optional: async (request: WithHeaders): Promise<Claims | undefined> =>
      authorizations(request).length === 0 ? undefined : required(request),
    fresh: async (request: WithHeaders): Promise<Claims> => tessera.requireFresh(await required(request)),
    scope: (scope: string) => async (request: WithHeaders): Promise<Claims> =>
      tessera.requireScope(await required(request), scope),
  };
}

async function tokenOf(request: WithHeaders): Promise<string | undefined> {
  return bearer(authorizations(request));
}
