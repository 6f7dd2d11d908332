//! The tests of this crate. `cargo mutants --package tessera-verify` checks that they notice changes of the code. Its
//! settings are in `.cargo/mutants.toml`.

#![expect(clippy::unwrap_used, reason = "a test fails if a value is missing")]

mod audiences;
#[cfg(all(feature = "axum", feature = "testing"))]
mod axum;
mod claims;
mod explanation;
mod feed;
mod grant;
mod guard;
mod header;
mod jwk;
mod keys;
mod keyset;
mod mutations;
#[cfg(feature = "poem")]
mod poem;
mod revocation;
mod spelling;
mod support;
#[cfg(feature = "testing")]
mod testing;
mod times;
mod vectors;
mod words;
