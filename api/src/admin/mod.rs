//! The actions of administrators.
//!
//! Within this wing: invitation ← user ← service ← client ← import ← revocation ← key ← mail ← audit ← replica ←
//! feed ← restore ← metrics ← overview ← pages.

pub(crate) mod audit;
pub mod client;
pub mod feed;
pub mod import;
pub mod invitation;
pub mod key;
pub mod mail;
pub(crate) mod metrics;
pub mod overview;
pub(crate) mod pages;
pub(crate) mod replica;
pub mod restore;
pub mod revocation;
pub mod service;
pub mod user;
