/** The reasons why a token is refused, and the answers of a guard. */

/** The reasons, which are stable, and a sentence for each. The server and the crate `tessera-verify` have the same. */
export const SENTENCES = {
  token_too_long: "the token is longer than 8192 bytes",
  token_malformed: "the token is not a JWT, which has three parts in canonical base64url, separated by dots",
  header_invalid: "the header is not a JSON object with typ, alg and kid",
  header_unsupported: "the header has a member that is not supported",
  key_unknown: "the token names a key that is not in use",
  algorithm_mismatch: "the algorithm in the header is not that of the key",
  signature_invalid: "the signature does not match",
  claims_invalid: "a claim is missing, appears twice or has the wrong type",
  issuer_mismatch: "the token is from another issuer",
  audience_mismatch: "the token is for another audience",
  token_expired: "the token has expired",
  token_not_yet_valid: "the token is not valid yet",
  lifetime_too_long: "the lifetime of the token is longer than allowed",
  type_mismatch: "this kind of token is not accepted here",
  token_revoked: "the token was revoked",
} as const;

/** The reason why a token is refused. */
export type Refusal = keyof typeof SENTENCES;

/** A guard refuses the request. Answer with `status`, `headers` and `{"detail": detail}`. */
export abstract class Denied extends Error {
  abstract readonly status: 401 | 403 | 503;
  abstract readonly detail: string;
  /** The value of `WWW-Authenticate`, if another token could be accepted. */
  abstract readonly challenge: string | undefined;
  /** The name under which metrics count this answer. */
  abstract readonly reason: string;

  /** The headers of the answer, except the type of its content. */
  get headers(): Record<string, string> {
    return this.challenge === undefined ? { "Retry-After": "1" } : { "WWW-Authenticate": this.challenge };
  }
}

/** The request has no token. */
export class NoToken extends Denied {
  readonly status = 401;
  readonly detail = "Unauthorized";
  readonly challenge = "Bearer";
  readonly reason = "no_token";

  constructor() {
    super("the request has no token");
  }
}

/** The token is refused. */
export class Refused extends Denied {
  readonly status = 401;
  readonly detail = "Unauthorized";
  readonly challenge: string;

  constructor(readonly reason: Refusal) {
    super(SENTENCES[reason]);
    this.challenge = `Bearer error="invalid_token", error_description="${this.message}", reason="${reason}"`;
  }
}

/** The token was not issued for a password, or the password was given too long ago. */
export class NotFresh extends Denied {
  readonly status = 401;
  readonly detail = "FRESH_TOKEN_REQUIRED";
  readonly challenge: string;
  readonly reason = "not_fresh";

  constructor(readonly maxAge: number) {
    super("the password was given too long ago");
    const error = `error="insufficient_user_authentication", error_description="${this.message}"`;
    this.challenge = `Bearer ${error}, max_age="${maxAge}"`;
  }
}

/** The token does not have the scope. */
export class MissingScope extends Denied {
  readonly status = 403;
  readonly detail = "INSUFFICIENT_SCOPE";
  readonly challenge: string;
  readonly reason = "scope";

  constructor(readonly scope: string) {
    super(`the token does not have the scope ${scope}`);
    this.challenge = `Bearer error="insufficient_scope", scope="${scope}"`;
  }
}

/** The service cannot tell now whether the token was revoked. */
export class Unavailable extends Denied {
  readonly status = 503;
  readonly detail = "SERVICE_UNAVAILABLE";
  readonly challenge = undefined;
  readonly reason = "unavailable";

  constructor() {
    super("the service cannot tell now whether the token was revoked");
  }
}
