/**
 * Guards for Express 5, and for other servers whose middleware is `(request, response, next)`.
 *
 *     const { jwtRequired } = tessera();
 *     app.get("/reports", jwtRequired, (req, res) => res.json({ user: req.jwt.sub }));
 */

import type { IncomingMessage, ServerResponse } from "node:http";

import type { Claims } from "./claims.js";
import { type Check, checks } from "./guards.js";
import { Denied } from "./refusal.js";
import type { Options } from "./settings.js";
import { Tessera } from "./tessera.js";

export type { Claims, Options };

declare global {
  namespace Express {
    interface Request {
      /** The claims of the verified token. A guard sets it. */
      jwt?: Claims;
    }
  }
}

/** A middleware. */
export type Middleware = (
  request: IncomingMessage & { jwt?: Claims },
  response: ServerResponse,
  next: (error?: unknown) => void,
) => Promise<void>;

/** The guards of a service, and its verifier. */
export interface Guards {
  /** Requires a valid access token. */
  jwtRequired: Middleware;
  /** Accepts a valid access token, or no token. */
  jwtOptional: Middleware;
  /** Requires a valid access token whose user gave a password a short time ago. */
  freshJwtRequired: Middleware;
  /** Requires a valid access token with a scope. */
  scope: (scope: string) => Middleware;
  verifier: Tessera;
}

function middleware(check: Check): Middleware {
  return async (request, response, next) => {
    try {
      const claims = await check(request);
      if (claims !== undefined) request.jwt = claims;
    } catch (error) {
      if (error instanceof Denied) answer(response, error);
      else next(error);
      return;
    }
    next();
  };
}

function answer(response: ServerResponse, denied: Denied): void {
  const body = JSON.stringify({ detail: denied.detail });
  response.writeHead(denied.status, { ...denied.headers, "Content-Type": "application/json" }).end(body);
}

/** Makes the guards, and starts to follow the feed. It reads what the options do not have from the environment. */
export function tessera(options: Options | Tessera = {}): Guards {
  const verifier = options instanceof Tessera ? options : new Tessera(options);
  if (!(options instanceof Tessera)) setImmediate(() => void verifier.start());
  const { required, optional, fresh, scope } = checks(verifier);
  return {
    jwtRequired: middleware(required),
    jwtOptional: middleware(optional),
    freshJwtRequired: middleware(fresh),
    scope: (name) => middleware(scope(name)),
    verifier,
  };
}

export default tessera;
