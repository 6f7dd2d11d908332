//! Verification of Tessera's tokens in services: claims, keys, guards and the revocation list.
//!
//! Tessera itself signs with [`Claims`] and verifies with [`Verifier`]. So the server and the services that use this
//! crate agree about which tokens are valid.
//!
//! ```
//! use tessera_verify::{Claims, Key, KeySet, TokenKind, TokenType, Verifier};
//! use uuid::Uuid;
//!
//! let user = Uuid::new_v4();
//! let key = Key::hs256(b"a secret of at least thirty-two bytes");
//! let kind = TokenKind::access(true, 1_800_000_000, "reports");
//! let claims = Claims::new(kind, "http://localhost:8000", user, "tessera", Uuid::new_v4())
//!     .with_iat(1_800_000_000)
//!     .with_nbf(1_799_999_995)
//!     .with_exp(1_800_000_900)
//!     .with_sid(Uuid::new_v4());
//! let token = key.sign(&claims).expect("signed");
//!
//! let verifier = Verifier::new(KeySet::new(key), "http://localhost:8000", "tessera");
//! let verified = verifier.verify(&token, TokenType::Access, 1_800_000_001).expect("accepted");
//! assert_eq!(verified, claims);
//! assert_eq!(verified.sub.uuid(), Some(user));
//! ```
//!
//! A [`Verifier`] reads no clock and sends no requests. You give it the time, the keys and the [`RevocationList`].
//! Later versions can add variants and fields, so match with a wildcard, and create claims with [`Claims::new`].
//!
//! A [`Guard`] checks what an operation requires: a valid token, a fresh token, or a token with a scope. With the
//! feature `poem`, guards are arguments of handlers: see the module `poem`.

#[cfg(feature = "axum")]
pub mod axum;
mod claims;
#[cfg(feature = "feed")]
pub mod client;
mod compact;
mod derivation;
mod explanation;
pub mod feed;
mod grant;
mod guard;
mod id_map;
mod jwk;
mod key;
mod keyset;
mod object;
#[cfg(feature = "poem")]
pub mod poem;
mod refusal;
mod revocation;
mod subject;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tower")]
pub mod tower;
mod verifier;

pub use claims::{Claims, TokenKind, TokenType};
#[cfg(feature = "feed")]
pub use client::Tessera;
pub use compact::MAX_TOKEN_LENGTH;
pub use derivation::derive;
pub use explanation::Explanation;
pub use grant::GrantClaims;
#[cfg(any(feature = "poem", feature = "axum"))]
pub(crate) use guard::bearer_of;
pub use guard::{Denied, Guard, Prepared, Scope, Watch};
pub use key::{Jwk, Key, KeyError, SigningAlgorithm};
pub use keyset::KeySet;
pub use refusal::Refusal;
pub use revocation::{Revocation, RevocationList};
pub use subject::{Audiences, Subject};
pub use verifier::{DEFAULT_LEEWAY, MAX_LEEWAY, Verifier};
