//! The user and the session of an accepted token.

use entity::{SessionId, UserId};
use tessera_verify::Claims;

/// The user of a token. The verifier accepts only tokens whose subject is a user: see
/// [`Verifier::of_sessions_alone`](tessera_verify::Verifier::of_sessions_alone). For any other token this would be the
/// nil id, which no user has.
pub(crate) fn user_of(claims: &Claims) -> UserId {
    UserId(claims.sub.uuid().unwrap_or_default())
}

/// The session of a token. The verifier accepts no token without one: see [`user_of`].
pub(crate) fn session_of(claims: &Claims) -> SessionId {
    SessionId(claims.sid.unwrap_or_default())
}
