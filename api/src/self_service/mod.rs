//! What people do with their own account.
//!
//! Within this wing: registration ← account ← recovery.

pub mod account;
pub mod recovery;
pub mod registration;
