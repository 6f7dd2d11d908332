//! Other providers: people sign in with an account that they have elsewhere.
//!
//! Within this wing: upstream ← federated_identity.

pub mod federated_identity;
pub mod upstream;
