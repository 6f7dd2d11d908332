//! The page for registration.

use minijinja::{Value, context};
use poem::http::StatusCode;
use poem::{Response, handler};
use serde::Deserialize;

use crate::access::caller::page::{Form, PageRequest};
use crate::access::session::pages::{onward_with, providers};
use crate::app::App;
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::http::browser_request::{PageQuery, in_query, next_place};
use crate::http::page::Frame;
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::factor::Password;
use crate::identity::user::{Email, Language, Profile};
use crate::identity::verification::client::CodeClient;

/// The form for registration.
#[derive(Deserialize)]
struct RegistrationForm {
    email: String,
    password: String,
    next: Option<String>,
}

/// The query of the page.
#[derive(Deserialize)]
struct RegistrationQuery {
    next: Option<String>,
}

/// The values with which pages rate a new password while it is typed.
pub(crate) fn strength(frame: &Frame) -> Value {
    let config = &frame.app.config;
    let fewest = if config.dev { 1 } else { config.password_min_length };
    context! {
        fewest,
        few => frame.text_with("password-too-short", &[("number", fewest.into())]),
        easy => frame.text("strength-easy"),
        fair => frame.text("strength-fair"),
        good => frame.text("strength-good"),
    }
}

/// The pages of this module.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![PageRoute::form("/register", register_form, register)]
}

#[handler]
fn register_form(
    mut request: PageRequest,
    PageQuery(query): PageQuery<RegistrationQuery>,
) -> Response {
    let next = query.next.as_deref();
    if request.signed_in.is_some() {
        return request.redirect(next_place(next));
    }
    let hint = request.join_next(next).unwrap_or_default();
    if let Err(error) = super::require_open(&request.app) {
        return request.refusal(&request.text("register"), error);
    }
    form(&request, (&hint, next), None)
}

/// The query with which a link to the sign-in leads on to the same place.
fn onward(next: Option<&str>) -> String {
    next.map(|next| format!("?next={}", in_query(next))).unwrap_or_default()
}

#[handler]
async fn register(peer: PeerAddress, client: CodeClient, sent: Form<RegistrationForm>) -> Response {
    let Form { form: RegistrationForm { email: typed, password, next }, mut request, stale } = sent;
    let next = next.as_deref();
    request.join_next(next);
    if let Some(error) = stale {
        return form(&request, (&typed, next), Some(&error));
    }
    let email = match typed.parse::<Email>() {
        Ok(email) => email,
        Err(fault) => {
            return form(&request, (&typed, next), Some(&invalid_email(fault)));
        }
    };
    // So the mail is in the language that the page has.
    let language = request.chosen_language().and_then(|tag| tag.parse().ok());
    let profile = Profile { language, ..Profile::default() };
    let (app, password) = (&request.app, Password::new(password));
    match super::register(app, email, password, profile, peer.0, client.keep()).await {
        Ok(_) if app.mail.sends() => {
            // The mail has a link, and a code for users who read it on another device.
            let done = request.text_with("registered-mail", &[("email", typed.as_str().into())]);
            let onward = onward(next);
            let values = context! { token => "", email => typed, code => "", own => false, new => false, strength => "", done, onward };
            request.page(StatusCode::CREATED, "verify.html", values)
        }
        Ok(_) => {
            let text =
                if waits_for_administrator(app) { "registered-no-mail" } else { "registered" };
            let (title, text) = (request.text("registered-title"), request.text(text));
            let login = format!("login{}", onward(next));
            request.said(StatusCode::CREATED, &title, &text, &login)
        }
        Err(error) => form(&request, (&typed, next), Some(&error)),
    }
}

/// The error for the input of a field, with the name of its texts.
pub(crate) fn invalid(field: &'static str, name: &str, sentence: &str) -> Error {
    let message = LocalizedMessage::new(name, sentence).about(field);
    Error::with_messages(Code::UnprocessableContent, vec![message])
}

/// Returns true if a user cannot sign in after the registration, because no mail verifies the address.
fn waits_for_administrator(app: &App) -> bool {
    app.config.require_verification && !app.mail.sends()
}

/// The error for an address that no account can get.
pub(crate) fn invalid_email(fault: &'static str) -> Error {
    let name = if fault == Email::NOT_ASCII { "email-not-ascii" } else { "email-wrong" };
    invalid("email", name, fault)
}

/// Reads the field for a language, which may be empty.
pub(crate) fn language(text: &str) -> Result<Option<Language>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|fault| invalid("language", "language-wrong", fault))
}

fn form(
    request: &PageRequest,
    (email, next): (&str, Option<&str>),
    error: Option<&Error>,
) -> Response {
    let onward = onward(next);
    let waits = waits_for_administrator(&request.app);
    let (providers, ways) = (providers(&request.app), onward_with(next, false));
    let strength = strength(request);
    let values = context! { email, next, onward, waits, providers, ways, strength };
    request.form("register.html", values, error)
}
