//! Accounts, and how their owners prove their identity.
//!
//! Within this wing: user ← service ← verification ← invitation ← alert ← factor.

pub(crate) mod alert;
pub mod factor;
pub mod invitation;
pub mod service;
pub mod user;
pub mod verification;
