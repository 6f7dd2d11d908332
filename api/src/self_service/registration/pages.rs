//! Registering with a browser.

use minijinja::{Value, context};
use poem::http::StatusCode;
use poem::{Response, handler};
use serde::Deserialize;

use crate::base::config::Registration;
use crate::base::error::{Code, Error, Phrase};
use crate::http::page::Frame;
use crate::http::page_request::{Sent, Visitor};
use crate::http::peer::PeerAddress;
use crate::identity::factor::Password;
use crate::identity::user::{Email, Profile};
use crate::identity::verification::client::CodeClient;

/// What somebody fills in to register.
#[derive(Deserialize)]
struct Registering {
    email: String,
    password: String,
}

/// What pages show beside a new password as it is typed.
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

#[handler]
pub(crate) fn register_form(visitor: Visitor) -> Response {
    if visitor.signed_in.is_some() {
        return visitor.leads_to("");
    }
    if visitor.app.config.registration == Registration::Closed {
        return visitor.refusal(&visitor.text("register"), Code::RegistrationClosed.into());
    }
    form(&visitor, "", None)
}

#[handler]
pub(crate) async fn register(
    from: PeerAddress,
    client: CodeClient,
    sent: Sent<Registering>,
) -> Response {
    let Sent { form: Registering { email: typed, password }, visitor, stale } = sent;
    if let Some(error) = stale {
        return form(&visitor, &typed, Some(&error));
    }
    let email = match typed.parse::<Email>() {
        Ok(email) => email,
        Err(fault) => return form(&visitor, &typed, Some(&invalid("email", "email-wrong", fault))),
    };
    let (password, profile) = (Password::new(password), Profile::default());
    let app = &visitor.app;
    match super::register(app, email, password, profile, from.0, client.keep()).await {
        Ok(_) if app.mailer.sends() => {
            // The mail has a link, and a code for who reads it elsewhere.
            let done = visitor.text_with("registered-mail", &[("email", typed.as_str().into())]);
            let values = context! { token => "", email => typed, code => "", own => false, new => false, strength => "", done };
            visitor.page(StatusCode::CREATED, "verify.html", values)
        }
        Ok(_) => {
            let (title, text) = (visitor.text("registered-title"), visitor.text("registered"));
            visitor.said(StatusCode::CREATED, &title, &text, "login")
        }
        Err(error) => form(&visitor, &typed, Some(&error)),
    }
}

/// A refusal of what was typed into a field, by the name of its texts.
pub(crate) fn invalid(field: &'static str, name: &str, sentence: &str) -> Error {
    let phrase = Phrase::new(name, sentence).about(field);
    Error::with_phrases(Code::UnprocessableContent, vec![phrase])
}

fn form(visitor: &Visitor, email: &str, error: Option<&Error>) -> Response {
    let values = context! { email, strength => strength(visitor) };
    visitor.form("register.html", values, error)
}
