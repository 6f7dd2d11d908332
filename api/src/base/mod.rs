//! Modules that every other module can use and that know no feature: clock, randomness, settings, database, errors.
//!
//! Within this wing: hex ← random and clock ← config ← error ← database and everything else.

pub(crate) mod background;
pub mod cache;
pub mod change;
pub(crate) mod claims;
pub mod clock;
pub mod config;
pub mod csv;
pub mod database;
pub mod derived_key;
pub mod error;
pub mod hex;
pub mod listing;
pub(crate) mod log_limit;
pub mod mail_address;
pub(crate) mod metrics;
pub mod random;
pub(crate) mod request_context;
pub mod scope;
pub(crate) mod trace_context;
