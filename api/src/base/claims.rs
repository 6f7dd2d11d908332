//! The user and the session of a token that was accepted.

use entity::{SessionId, UserId};
use tessera_verify::Claims;

/// The user of a token. The verifier accepts no token of another subject: see
/// [`Verifier::of_sessions_alone`](tessera_verify::Verifier::of_sessions_alone). If one came here all the
/// same, it would be of the nil id, which nobody has.
pub(crate) fn user_of(claims: &Claims) -> UserId {
    UserId(claims.sub.uuid().unwrap_or_default())
}

/// The session of a token, without which the verifier accepts none either: see [`user_of`].
pub(crate) fn session_of(claims: &Claims) -> SessionId {
    SessionId(claims.sid.unwrap_or_default())
}
