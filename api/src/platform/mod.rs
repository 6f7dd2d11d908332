//! The infrastructure that operations need and leave data in: audit, revocations, keys, jobs, mails, rate limits,
//! replicas.
//!
//! Within this wing: audit ← revocation ← notice ← unit_of_work ← key ← job ← mail ← rate_limit ← replica ← health ← seen ←
//! fetch ← trace.

pub mod audit;
pub mod fetch;
pub mod health;
pub mod job;
pub mod key;
pub mod mail;
pub mod notice;
pub mod rate_limit;
pub mod replica;
pub mod revocation;
pub mod seen;
pub(crate) mod trace;
pub mod unit_of_work;
