//! What people do with their own account.
//!
//! Within this wing: registration ← session ← account ← recovery.

pub mod account;
pub mod recovery;
pub mod registration;
pub mod session;
