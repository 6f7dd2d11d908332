//! Sessions, API tokens, and the operations with which other services check and revoke them.
//!
//! Within this wing: grant ← session ← api_token ← caller ← introspection.

pub mod api_token;
pub mod caller;
pub(crate) mod grant;
pub mod introspection;
pub mod session;
