/**
 * Guards for Fastify 5.
 *
 *     const { jwtRequired } = tessera();
 *     app.get("/reports", { onRequest: jwtRequired }, async (request) => ({ user: request.jwt.sub }));
 */

import type { FastifyReply, FastifyRequest } from "fastify";

import type { Claims } from "./claims.js";
import { type Check, checks } from "./guards.js";
import { Denied } from "./refusal.js";
import type { Options } from "./settings.js";
import { Tessera } from "./tessera.js";

export type { Claims, Options };

declare module "fastify" {
  interface FastifyRequest {
    /** The claims of the verified token. A guard sets it. */
    jwt?: Claims;
  }
}

/** A hook: `onRequest` or `preHandler`. */
export type Hook = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply | undefined>;

/** The guards of a service, and its verifier. */
export interface Guards {
  /** Requires a valid access token. */
  jwtRequired: Hook;
  /** Accepts a valid access token, or no token. */
  jwtOptional: Hook;
  /** Requires a valid access token whose user gave a password a short time ago. */
  freshJwtRequired: Hook;
  /** Requires a valid access token with a scope. */
  scope: (scope: string) => Hook;
  verifier: Tessera;
}

function hook(check: Check): Hook {
  return async (request, reply) => {
    try {
      const claims = await check(request.raw);
      if (claims !== undefined) request.jwt = claims;
    } catch (error) {
      if (!(error instanceof Denied)) throw error;
      return reply.code(error.status).headers(error.headers).send({ detail: error.detail });
    }
    return undefined;
  };
}

/** Makes the guards, and starts to follow the feed. It reads what the options do not have from the environment. */
export function tessera(options: Options | Tessera = {}): Guards {
  const verifier = options instanceof Tessera ? options : new Tessera(options);
  if (!(options instanceof Tessera)) setImmediate(() => void verifier.start());
  const { required, optional, fresh, scope } = checks(verifier);
  return {
    jwtRequired: hook(required),
    jwtOptional: hook(optional),
    freshJwtRequired: hook(fresh),
    scope: (name) => hook(scope(name)),
    verifier,
  };
}

export default tessera;
