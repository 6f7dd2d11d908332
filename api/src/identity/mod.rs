//! Who there is, and how they prove it.
//!
//! Within this wing: user ← service ← verification ← alert ← factor.

pub(crate) mod alert;
pub mod factor;
pub mod service;
pub mod user;
pub mod verification;
