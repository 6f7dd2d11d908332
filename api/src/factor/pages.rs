//! Registering with a browser.

use minijinja::context;
use poem::http::StatusCode;
use poem::web::Data;
use poem::{Response, handler};
use serde::Deserialize;

use super::Password;
use crate::app::App;
use crate::config::Registration;
use crate::error::{Code, Error};
use crate::http::caller::PeerAddress;
use crate::http::page::{page, refusal};
use crate::http::visitor::{Posted, Visitor, see_other};
use crate::user::{Email, Profile};

/// What somebody fills in to register.
#[derive(Deserialize)]
struct Registering {
    email: String,
    password: String,
}

const TITLE: &str = "Register";

#[handler]
pub(crate) fn register_form(app: Data<&App>, visitor: Visitor) -> Response {
    if visitor.signed_in.is_some() {
        return see_other("./");
    }
    if app.config.registration == Registration::Closed {
        return refusal(TITLE, Code::RegistrationClosed.into());
    }
    form(StatusCode::OK, &visitor, "", None, None)
}

#[handler]
pub(crate) async fn register(
    app: Data<&App>,
    from: PeerAddress,
    posted: Posted<Registering>,
) -> Response {
    let Posted { form: Registering { email: typed, password }, visitor } = posted;
    let bad = StatusCode::BAD_REQUEST;
    let email: Email = match typed.parse() {
        Ok(email) => email,
        Err(fault) => return form(bad, &visitor, &typed, Some(fault), None),
    };
    let (password, profile) = (Password::new(password), Profile::default());
    let error: Error = match super::register(&app, email, password, profile, from.0).await {
        Ok(_) => {
            let mail = if app.mailer.sends() {
                " A mail is on its way with which to confirm your address."
            } else {
                ""
            };
            let text = format!("You are registered.{mail}");
            let values = context! {
                title => TITLE, text, fault => false, more => "login", label => "Sign in"
            };
            return page(StatusCode::CREATED, "said.html", values);
        }
        Err(error) => error,
    };
    match error.code() {
        Code::RegisterUserAlreadyExists => {
            form(bad, &visitor, &typed, Some("Somebody has registered this address."), None)
        }
        Code::RegisterInvalidPassword => {
            form(bad, &visitor, &typed, None, Some(&error.to_string()))
        }
        _ => refusal(TITLE, error),
    }
}

fn form(
    status: StatusCode,
    visitor: &Visitor,
    email: &str,
    email_fault: Option<&str>,
    password_fault: Option<&str>,
) -> Response {
    let csrf = &visitor.csrf;
    let values = context! { title => TITLE, csrf, email, email_fault, password_fault };
    page(status, "register.html", values)
}
