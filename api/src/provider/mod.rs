//! OAuth 2 and OpenID Connect: other applications sign people in through Tessera, and get tokens for APIs.
//!
//! Within this wing: client ← authorization ← exchange.

pub mod authorization;
pub mod client;
pub mod exchange;
