//! What a proof opens: sessions, API tokens, and what others ask of them.
//!
//! Within this wing: grant ← session ← api_token ← caller ← introspection.

pub mod api_token;
pub mod caller;
pub(crate) mod grant;
pub mod introspection;
pub mod session;
