//! Sessions, API tokens, and the operations with which other services check and revoke them.
//!
//! Within this wing: grant ← session ← api_token ← removal ← caller ← introspection ← feed ← forward.

pub mod api_token;
pub mod caller;
pub mod feed;
pub mod forward;
pub(crate) mod grant;
pub mod introspection;
pub(crate) mod removal;
pub mod session;
