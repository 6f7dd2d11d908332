//! The authentication of clients at the token endpoint and its neighbours (RFC 6749, section 2.3).
//!
//! Every refusal has the same public sentence, so an answer does not reveal whether a client exists. Every attempt with
//! a secret looks for the client and for the secret, so neither does its duration. Operators read the reason in the
//! table of refusals.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use super::refusal::{Checked, OauthError, Refusal};
use super::secret::StoredSecret;
use super::{AuthMethod, Client, Origin, find, store};
use crate::access::api_token::Digest;
use crate::app::App;
use crate::base::clock::{self, Timestamp};
use crate::base::error::Result;
use crate::base::request_context;
use crate::platform::rate_limit;

/// The sentence for everybody, whatever the reason is.
const SENTENCE: &str =
    "The client is not known here, or its authentication is not the one that was registered.";

/// The parts of a request that authenticate its client.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The header `Authorization`.
    pub authorization: Option<&'a str>,
    /// The parameter `client_id`.
    pub client_id: Option<&'a str>,
    /// The parameter `client_secret`.
    pub client_secret: Option<&'a str>,
}

/// A way in which a request authenticates its client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Basic,
    Post,
    None,
}

/// An id with a secret, as one reading of a request gives them.
#[derive(Clone, PartialEq, Eq)]
struct Reading {
    client_id: String,
    secret: Option<String>,
}

/// A request's authentication with its possible readings, of which there is at least one.
struct Presented {
    method: Method,
    readings: Vec<Reading>,
}

impl Credentials<'_> {
    /// Returns true if the request used HTTP Basic, so that a refusal must have a challenge for it.
    pub fn used_basic(&self) -> bool {
        self.authorization.and_then(basic_of).is_some()
    }

    /// Returns the `client_id` that the request names, for a refusal before the client is known.
    pub fn names(&self) -> Option<String> {
        let presented = presented(self).ok()?;
        presented.readings.into_iter().next().map(|reading| reading.client_id)
    }
}

/// The maximum length of an unknown client id that is shown whole. Secrets are longer.
const MAX_SHOWN: usize = 24;

/// Authenticates a client. The outer error is one of the server, or a rate limit; the inner one is the refusal.
///
/// # Errors
///
/// [`Code::TooManyAttempts`](crate::base::error::Code::TooManyAttempts) after many wrong secrets from one address.
pub async fn authenticate(
    app: &App,
    credentials: &Credentials<'_>,
) -> Result<Checked<Arc<Client>>> {
    let presented = match presented(credentials) {
        Ok(presented) => presented,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let place = rate_limit::place(request_context::current().ip);
    let mut refused = None;
    for reading in &presented.readings {
        let digest = reading.secret.as_deref().map(Digest::of);
        let counted = digest.filter(|_| app.config.rate_limit);
        if let Some(digest) = counted {
            app.client.guesses.refuse(&place, digest)?;
        }
        let client = find(app, &reading.client_id).await?;
        let secret = match digest {
            Some(digest) => stored(app, digest).await?,
            None => None,
        };
        let now = clock::now();
        match checked(client, reading, presented.method, digest.is_some(), secret, now) {
            Ok((client, secret)) => {
                if let Some(digest) = counted {
                    app.client.guesses.was_right(&place, digest);
                }
                if let Some(secret) = secret {
                    app.client.uses.note(&secret, now);
                }
                return Ok(Ok(client));
            }
            Err(refusal) => {
                if let Some(digest) = counted {
                    app.client.guesses.was_wrong(&place, digest);
                }
                refused.get_or_insert(refusal);
            }
        }
    }
    Ok(Err(refused.unwrap_or_else(missing)))
}

async fn stored(app: &App, digest: Digest) -> Result<Option<StoredSecret>> {
    let row = store::find_secret(app.database.reader(), &digest.to_string()).await?;
    Ok(row.as_ref().map(StoredSecret::from))
}

/// Decides about one reading of a request, from the rows alone.
fn checked(
    client: Option<Arc<Client>>,
    reading: &Reading,
    method: Method,
    has_secret: bool,
    secret: Option<StoredSecret>,
    now: Timestamp,
) -> Checked<(Arc<Client>, Option<StoredSecret>)> {
    let Some(client) = client else {
        let remedy =
            "Check the client id of the application. `tessera client list` shows those that exist.";
        return Err(refuse("client.unknown", remedy).came(shown_id(&reading.client_id)));
    };
    let id = &client.client_id;
    if !client.is_active {
        let remedy = client.remedy("--enable");
        return Err(refuse("client.disabled", remedy));
    }
    require_method(&client, method, has_secret)?;
    if client.auth_method == AuthMethod::None {
        return Ok((client, None));
    }
    let rotate = match client.origin {
        Origin::Operator => format!(
            "Give the application its current secret, or make another: `tessera client rotate-secret {id}`"
        ),
        Origin::File => "Give the application the secret that CLIENTS_FILE names.".to_owned(),
    };
    match secret {
        None if has_secret => Err(refuse("client_secret.wrong", rotate)),
        None => Err(refuse("client_secret.missing", rotate)),
        Some(secret) if secret.client != client.id => {
            let remedy = "Give the application the secret of its own client id.";
            Err(refuse("client_secret.of_another_client", remedy))
        }
        Some(secret) if secret.expires.is_some_and(|expires| now >= expires) => {
            let retired = secret.expires.map(Timestamp::millis).unwrap_or_default();
            let retired = chrono::DateTime::from_timestamp_millis(retired).unwrap_or_default();
            let retired = retired.format("%-d %B %Y, %H:%M UTC");
            let came = format!("a secret that retired on {retired}");
            Err(refuse("client_secret.retired", rotate).came(came))
        }
        Some(secret) => Ok((client, Some(secret))),
    }
}

/// The part of an unknown client id that operators can see. A program that exchanges its id and its secret sends the
/// secret here, so a long text is cut off.
pub fn shown_id(client_id: &str) -> String {
    let length = client_id.chars().count();
    if length <= MAX_SHOWN && !client_id.starts_with("tsr_") {
        return client_id.to_owned();
    }
    let beginning: String = client_id.chars().take(4).collect();
    format!("{beginning}\u{2026} ({length} characters: is it a secret?)")
}

/// Fails if a client cannot authenticate in this way.
fn require_method(client: &Client, method: Method, has_secret: bool) -> Checked {
    let id = &client.client_id;
    let allowed: &str = client.auth_method.into();
    let is_allowed = match client.auth_method {
        AuthMethod::ClientSecret => method != Method::None,
        AuthMethod::ClientSecretBasic => method == Method::Basic,
        AuthMethod::ClientSecretPost => method == Method::Post,
        AuthMethod::None => !has_secret,
    };
    if !is_allowed {
        let (name, came) = match (method, has_secret) {
            (_, false) => ("client_secret.missing", "none"),
            (Method::Post, true) => ("client_auth.method_not_allowed", "client_secret_post"),
            (_, true) => ("client_auth.method_not_allowed", "client_secret_basic"),
        };
        let remedy = format!(
            "Configure the application for {allowed}, or allow what it sends: `tessera client update {id} \
             --auth-method {came}`"
        );
        return Err(refuse(name, remedy).expected(allowed).came(came));
    }
    Ok(())
}

fn refuse(name: &'static str, remedy: impl Into<String>) -> Refusal {
    Refusal::new(name, OauthError::InvalidClient, SENTENCE, remedy)
}

fn missing() -> Refusal {
    let sentence = "The request does not say which client sends it.";
    let remedy = "The application must send its client id and secret by HTTP Basic or in the body.";
    Refusal::new("client_auth.missing", OauthError::InvalidClient, sentence, remedy)
}

const ONE_WAY: &str =
    "Configure the application to send its secret in one way: HTTP Basic or in the body.";

/// The refusal of a request that authenticates its client more than once (RFC 6749, section 2.3).
pub fn two_methods() -> Refusal {
    let sentence = "The request authenticates its client in two ways.";
    Refusal::new("client_auth.two_methods", OauthError::InvalidRequest, sentence, ONE_WAY)
}

/// Reads the authentication of a request.
fn presented(credentials: &Credentials<'_>) -> Checked<Presented> {
    let Credentials { authorization, client_id, client_secret } = *credentials;
    // An empty parameter is an absent one.
    let client_id = client_id.filter(|id| !id.is_empty());
    let client_secret = client_secret.filter(|secret| !secret.is_empty());
    let Some(basic) = authorization.and_then(basic_of) else {
        let Some(client_id) = client_id else { return Err(missing()) };
        let method = if client_secret.is_some() { Method::Post } else { Method::None };
        let secret = client_secret.map(str::to_owned);
        let readings = vec![Reading { client_id: client_id.to_owned(), secret }];
        return Ok(Presented { method, readings });
    };
    if client_secret.is_some() {
        return Err(two_methods());
    }
    let mut readings = readings_of(basic).unwrap_or_default();
    if readings.is_empty() {
        let sentence = "The header Authorization is not valid for HTTP Basic.";
        let error = OauthError::InvalidClient;
        return Err(Refusal::new("client_auth.basic_malformed", error, sentence, ONE_WAY));
    }
    if let Some(client_id) = client_id {
        readings.retain(|reading| reading.client_id == client_id);
        if readings.is_empty() {
            let sentence =
                "The header Authorization names another client than the parameter client_id.";
            let error = OauthError::InvalidRequest;
            return Err(Refusal::new("client_auth.two_clients", error, sentence, ONE_WAY));
        }
    }
    Ok(Presented { method: Method::Basic, readings })
}

/// Returns the credentials of HTTP Basic, whose scheme can have any case.
fn basic_of(authorization: &str) -> Option<&str> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| credentials.trim())
}

/// Returns the readings of HTTP Basic: form-decoded as RFC 6749 requires, and as they stand, because many programs do
/// not encode. Usually both are the same.
fn readings_of(basic: &str) -> Option<Vec<Reading>> {
    let text = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
    let (client_id, secret) = text.split_once(':')?;
    let reading = |client_id: String, secret: String| {
        let secret = Some(secret).filter(|secret| !secret.is_empty());
        (!client_id.is_empty()).then_some(Reading { client_id, secret })
    };
    let decoded = form_decoded(client_id)
        .zip(form_decoded(secret))
        .and_then(|(client_id, secret)| reading(client_id, secret));
    let raw = reading(client_id.to_owned(), secret.to_owned());
    let mut readings: Vec<_> = decoded.into_iter().chain(raw).collect();
    readings.dedup();
    Some(readings)
}

fn form_decoded(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(|text| text.into_owned())
}
