//! The actions of administrators.
//!
//! Within this wing: invitation ← user ← service ← import ← revocation ← key ← mail ← audit ← replica ← overview ← pages.

pub(crate) mod audit;
pub mod import;
pub mod invitation;
pub mod key;
pub mod mail;
pub mod overview;
pub(crate) mod pages;
pub(crate) mod replica;
pub mod revocation;
pub mod service;
pub mod user;
