//! What this crate promises, held by its own tests. `cargo mutants --package tessera-verify` asks whether
//! they hold it: `.cargo/mutants.toml` has its settings.

#![expect(clippy::unwrap_used, reason = "a test that has no answer has failed")]

mod audiences;
mod claims;
mod explanation;
mod guard;
mod header;
mod jwk;
mod keys;
mod keyset;
#[cfg(feature = "poem")]
mod poem;
mod revocation;
mod spelling;
mod support;
mod times;
mod words;
