//! Accounts, and how their owners prove their identity.
//!
//! Within this wing: user ← service ← verification ← alert ← factor.

pub(crate) mod alert;
pub mod factor;
pub mod service;
pub mod user;
pub mod verification;
