//! Authorization: an application asks for a user, and gets a code.
//!
//! `checks.rs` is the list of all checks, `draft.rs` what they know. A request is sealed into URLs while its user signs
//! in (`http/flow.rs`). `code.rs` makes and spends codes, and `consent.rs` remembers what users permit.

pub mod checks;
mod claims_request;
pub mod code;
mod consent;
mod draft;
mod explain;
pub(crate) mod jobs;
pub(crate) mod pages;
mod parameters;
mod store;

pub use claims_request::ClaimsRequest;
pub use draft::{Draft, Mode, Prompt, Proof, SignIn};
pub use explain::{Answer, explain};
pub use parameters::{Hint, Parameters};

use strum::VariantArray;

use crate::provider::client::{OauthError, Refusal};

/// The values of `prompt`, for the discovery document.
pub fn prompts() -> Vec<&'static str> {
    Prompt::VARIANTS.iter().map(Into::into).collect()
}

/// The refusal of a request whose client is not known.
fn unknown_client() -> Refusal {
    let sentence = "No application with this client_id is registered here.";
    let remedy = "`tessera client list` shows the clients that exist.";
    Refusal::new("client.unknown", OauthError::InvalidRequest, sentence, remedy)
}
