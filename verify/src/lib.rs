//! What a service needs to trust Tessera's tokens: claims, keys, verification and the revocation list.
//!
//! Tessera signs with [`Claims`] and checks with [`Verifier`] itself, so the server and the
//! services that verify on their own cannot disagree about what a valid token is.
//!
//! ```
//! use tessera_verify::{Claims, Key, KeySet, TokenKind, TokenType, Verifier};
//! use uuid::Uuid;
//!
//! let key = Key::hs256(b"a secret of at least thirty-two bytes");
//! let claims = Claims {
//!     iss: "http://localhost:8000".into(),
//!     sub: Uuid::new_v4(),
//!     aud: "tessera".into(),
//!     iat: 1_800_000_000,
//!     nbf: 1_799_999_995,
//!     exp: 1_800_000_900,
//!     jti: Uuid::new_v4(),
//!     sid: Uuid::new_v4(),
//!     kind: TokenKind::Access { fresh: true, auth_time: 1_800_000_000, scope: String::new() },
//! };
//! let token = key.sign(&claims).expect("signed");
//!
//! let verifier = Verifier::new(KeySet::new(key), "http://localhost:8000", "tessera");
//! let verified = verifier.verify(&token, TokenType::Access, 1_800_000_001).expect("accepted");
//! assert_eq!(verified, claims);
//! ```
//!
//! [`Guard`] asks what an operation requires of a token: that there is one, a fresh one, one with a scope.
//! With the feature `poem` guards are arguments of handlers: see the module `poem`.

mod claims;
mod compact;
mod derivation;
mod explanation;
mod guard;
mod jwk;
mod key;
mod keyset;
mod object;
#[cfg(feature = "poem")]
pub mod poem;
mod refusal;
mod revocation;
mod verifier;

pub use claims::{Claims, TokenKind, TokenType};
pub use compact::MAX_TOKEN_LENGTH;
pub use derivation::derive;
pub use explanation::Explanation;
pub use guard::{Denied, Guard};
pub use jsonwebtoken::jwk::Jwk;
pub use key::{Key, KeyError, SigningAlgorithm};
pub use keyset::KeySet;
pub use refusal::Refusal;
pub use revocation::{Revocation, RevocationList};
pub use verifier::{DEFAULT_LEEWAY, MAX_LEEWAY, Verifier};
