//! Registering with a browser.

use minijinja::{Value, context};
use poem::http::StatusCode;
use poem::{Response, handler};
use serde::Deserialize;

use super::Password;
use crate::config::Registration;
use crate::error::{Code, Error};
use crate::http::caller::PeerAddress;
use crate::http::page::{Frame, field_of};
use crate::http::visitor::{Posted, Visitor};
use crate::user::{Email, Profile};

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
    form(StatusCode::OK, &visitor, "", None)
}

#[handler]
pub(crate) async fn register(from: PeerAddress, posted: Posted<Registering>) -> Response {
    let Posted { form: Registering { email: typed, password }, visitor } = posted;
    let bad = StatusCode::BAD_REQUEST;
    let Ok(email) = typed.parse::<Email>() else {
        return form(bad, &visitor, &typed, Some(("email", visitor.text("email-wrong"))));
    };
    let (password, profile) = (Password::new(password), Profile::default());
    let app = &visitor.app;
    let error: Error = match super::register(app, email, password, profile, from.0).await {
        Ok(_) => {
            let text = if app.mailer.sends() { "registered-mail" } else { "registered" };
            let (title, text) = (visitor.text("register"), visitor.text(text));
            return visitor.said(StatusCode::CREATED, &title, &text, "login");
        }
        Err(error) => error,
    };
    match error.code() {
        Code::RegisterUserAlreadyExists | Code::RegisterInvalidPassword => {
            form(bad, &visitor, &typed, Some((field_of(&error), visitor.told(&error))))
        }
        _ => visitor.refusal(&visitor.text("register"), error),
    }
}

fn form(
    status: StatusCode,
    visitor: &Visitor,
    email: &str,
    fault: Option<(&str, String)>,
) -> Response {
    let (field, fault) = fault.unzip();
    let values = context! { email, field, fault, strength => strength(visitor) };
    visitor.page(status, "register.html", values)
}
