//! Authorization: an application asks for a user, and gets a code.
//!
//! `checks.rs` is the list of all checks, `draft.rs` what they know. A request is sealed into URLs while its user signs
//! in (`http/flow.rs`). `code.rs` makes and spends codes, and `consent.rs` remembers what users permit.

pub mod checks;
mod claims_request;
pub mod code;
mod consent;
mod draft;
pub(crate) mod jobs;
pub(crate) mod pages;
mod parameters;
mod store;

pub use claims_request::ClaimsRequest;
pub use draft::{Draft, Mode, Prompt, Proof, SignIn};
pub use parameters::{Hint, Parameters};

use strum::VariantArray;

use crate::app::App;
use crate::base::clock;
use crate::base::error::Result;
use crate::provider::client::{OauthError, Refusal};

/// The outcome of one check, for an operator who asks about a URL.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The name of the check.
    pub check: &'static str,
    /// The refusal, if there is one.
    pub refusal: Option<Refusal>,
}

/// Runs the list of checks for the query of a URL, without effect and without anybody signed in. It ends with the first
/// refusal, or before the check `authentication`.
///
/// # Errors
///
/// If the database does not answer.
pub async fn explain(app: &App, query: &str) -> Result<Vec<Answer>> {
    let mut draft = Draft::load(app, Parameters::read(query), clock::now(), None).await?;
    let mut answers = Vec::new();
    for checks::Check { name, check } in &checks::CHECKS {
        match check(&mut draft) {
            Ok(()) => answers.push(Answer { check: name, refusal: None }),
            Err(checks::Stop::Refused(refusal)) => {
                answers.push(Answer { check: name, refusal: Some(refusal) });
                break;
            }
            Err(_) => break,
        }
    }
    Ok(answers)
}

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
