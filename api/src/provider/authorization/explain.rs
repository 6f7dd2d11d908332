//! The explanation of a URL for operators: every check with its refusal or its effect.

use super::checks::{self, Stop};
use super::draft::{Draft, Mode, Prompt};
use super::parameters::Parameters;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::http::flow::{Flow, PARAMETER, PLACE};
use crate::provider::client::{Checked, OauthError, Refusal};

/// The outcome of one check.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The name of the check.
    pub check: &'static str,
    /// The refusal, if there is one.
    pub refusal: Option<Refusal>,
    /// The effect of the check on the request, if there is one.
    pub effect: Option<String>,
}

/// The name of the answer about the place of a URL, which is no check of the list.
const ENDPOINT: &str = "endpoint";

/// Runs the whole list of checks for a URL or its query, without effect and as if nobody was signed in. Checks that need
/// a client are left out if it is not known. If the URL is of another place, the first answer says so.
///
/// # Errors
///
/// If the database does not answer.
pub async fn explain(app: &App, url: &str) -> Result<Vec<Answer>> {
    let url = url.trim();
    let (place, query) = match url.split_once('?') {
        Some((place, query)) => (Some(place), query),
        None if url.contains("://") || url.starts_with('/') => (Some(url), ""),
        None => (None, url),
    };
    // A fragment never reaches a server.
    let query = query.split('#').next().unwrap_or_default();
    let mut answers: Vec<_> = place.and_then(|place| endpoint(app, place)).into_iter().collect();
    let sealed = query.strip_prefix(PARAMETER).and_then(|rest| rest.strip_prefix('='));
    let (read, began) = match sealed {
        Some(sealed) => match opened(app, sealed) {
            Some(opened) => opened,
            None => {
                answers.push(refused("parameters", unreadable()));
                return Ok(answers);
            }
        },
        None => (Parameters::read(query), clock::now()),
    };
    let mut draft = Draft::load(app, read, began, None).await?;
    for checks::Check { name, check } in &checks::CHECKS {
        match check(&mut draft) {
            Ok(()) => {
                answers.push(Answer { check: name, refusal: None, effect: effect(name, &draft) });
            }
            Err(Stop::Refused(refusal))
                if draft.client.is_none() && is_repeated(name, &refusal) => {}
            Err(Stop::Refused(refusal) | Stop::NotForUser(refusal)) => {
                answers.push(refused(name, refusal));
            }
            Err(Stop::SignIn(_) | Stop::Consent) => {
                answers.push(Answer { check: name, refusal: None, effect: effect(name, &draft) });
            }
        }
    }
    Ok(answers)
}

/// The parameters of a sealed request, and the time when it began.
pub(super) fn opened(app: &App, sealed: &str) -> Option<((Parameters, Checked), Timestamp)> {
    let flow = Flow::open(app, sealed)?;
    let asked = serde_json::from_value(flow.request).ok()?;
    Some(((asked, Ok(())), Timestamp::from_millis(flow.began)))
}

/// The refusal of a sealed request that cannot be opened.
pub(super) fn unreadable() -> Refusal {
    let sentence = "This link cannot be read. Open the application again and sign in from there.";
    let remedy =
        "The link was cut off, or it was made with an APP_SECRET that is not known any more.";
    Refusal::new("flow.unreadable", OauthError::InvalidRequest, sentence, remedy)
}

/// Returns true if a check was refused only because the check `client` was.
fn is_repeated(name: &str, refusal: &Refusal) -> bool {
    name != "client" && refusal.name == "client.unknown"
}

fn refused(check: &'static str, refusal: Refusal) -> Answer {
    Answer { check, refusal: Some(refusal), effect: None }
}

/// The answer about a URL whose place is not the one of the authorization endpoint.
fn endpoint(app: &App, place: &str) -> Option<Answer> {
    let issuer = app.config.public_url.as_str().trim_end_matches('/');
    let expected = format!("{issuer}/{PLACE}");
    let path =
        expected.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    if place == expected || Some(place) == path {
        return None;
    }
    let sentence = "The URL is not the one of this server's authorization endpoint.";
    let remedy = format!(
        "Configure the application with the issuer {issuer}. If people reach this server at another address, \
         correct PUBLIC_URL."
    );
    let error = OauthError::InvalidRequest;
    let refusal = Refusal::new("endpoint.other", error, sentence, remedy);
    Some(refused(ENDPOINT, refusal.expected(expected).came(place)))
}

/// The prompts that require a new proof of identity.
const AGAIN: [Prompt; 3] = [Prompt::Login, Prompt::SelectAccount, Prompt::Create];

/// The effect of a check that a request passes, in words.
fn effect(name: &str, draft: &Draft) -> Option<String> {
    let client = draft.client.as_ref()?;
    let settings = &client.settings;
    Some(match name {
        "client" => format!("the request is from {} ({})", client.client_id, client.name),
        "response_mode" if draft.mode == Mode::FormPost => {
            "the browser posts the answer in a form".to_owned()
        }
        "pkce" if draft.asked.code_challenge.is_none() => {
            "the request has no PKCE, which this application may leave out".to_owned()
        }
        "scope" if draft.dropped.is_empty() => format!("the scopes are {}", draft.scopes),
        "scope" => format!(
            "the scopes are {}; dropped, because the application cannot ask for them: {}",
            draft.scopes,
            draft.dropped.join(" ")
        ),
        "claims" if draft.claims.is_some() => {
            format!("with the scopes of the claims, the scopes are {}", draft.scopes)
        }
        "resource" if !draft.asked.resource.is_empty() => {
            format!("the access token is for {}", draft.asked.resource.join(" "))
        }
        "max_age" => {
            format!("somebody who gave the password {} s ago signs in again", draft.max_age?)
        }
        "authentication" if AGAIN.into_iter().any(|prompt| draft.prompts.contains(&prompt)) => {
            "somebody who is signed in signs in again".to_owned()
        }
        "authentication" => "somebody who is not signed in gets the sign-in page".to_owned(),
        "user" if settings.verified_email => {
            "only users with a verified address can sign in".to_owned()
        }
        "user" if !settings.only.is_empty() => {
            format!("only users with one of these scopes can sign in: {}", settings.only.join(" "))
        }
        "consent" if settings.trusted => "nobody is asked for consent".to_owned(),
        "consent" if draft.prompts.contains(&Prompt::Consent) || checks::can_be_anybody(draft) => {
            "the user is asked for consent each time".to_owned()
        }
        "consent" => "the user is asked for consent the first time".to_owned(),
        _ => return None,
    })
}
