/**
 * Verifies access tokens of Tessera in a Node service, which learns of a logout within a second.
 *
 * `tessera-verify/express` and `tessera-verify/fastify` have guards for frameworks, and `tessera-verify/testing` has an
 * issuer for tests. In another framework, call `Tessera.verify`.
 */

export { authorizations, bearer } from "./bearer.js";
export { Claims } from "./claims.js";
export type { State } from "./feed.js";
export { Denied, MissingScope, NotFresh, NoToken, type Refusal, Refused, Unavailable } from "./refusal.js";
export { type Options, SettingsError } from "./settings.js";
export { Tessera } from "./tessera.js";
export { MAX_TOKEN_LENGTH } from "./verifier.js";
