//! The actions of users on their own account.
//!
//! Within this wing: registration ← api_token ← session ← account ← recovery ← invitation.

pub mod account;
pub mod api_token;
pub mod invitation;
pub mod recovery;
pub mod registration;
pub mod session;
