//! The page for registration.

use minijinja::{Value, context};
use poem::http::StatusCode;
use poem::{Response, handler};
use serde::Deserialize;

use crate::access::caller::page::{Form, PageRequest};
use crate::base::error::{Code, Error, LocalizedMessage};
use crate::http::browser_request::{PageQuery, in_query, next_place};
use crate::http::flow::Flow;
use crate::http::page::Frame;
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::factor::Password;
use crate::identity::user::{Email, Profile};
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
    let hint = join(&mut request, next).unwrap_or_default();
    if let Err(error) = super::require_open(&request.app) {
        return request.refusal(&request.text("register"), error);
    }
    form(&request, (&hint, next), None)
}

/// The query with which a link to the sign-in leads on to the same place.
fn onward(next: Option<&str>) -> String {
    next.map(|next| format!("?next={}", in_query(next))).unwrap_or_default()
}

/// Makes the page part of the flow that it leads back to, if it does. Returns the address that the application expects.
fn join(request: &mut PageRequest, next: Option<&str>) -> Option<String> {
    let flow = Flow::of_place(&request.app, next)?;
    request.join(&flow);
    flow.login_hint
}

#[handler]
async fn register(peer: PeerAddress, client: CodeClient, sent: Form<RegistrationForm>) -> Response {
    let Form { form: RegistrationForm { email: typed, password, next }, mut request, stale } = sent;
    let next = next.as_deref();
    join(&mut request, next);
    if let Some(error) = stale {
        return form(&request, (&typed, next), Some(&error));
    }
    let email = match typed.parse::<Email>() {
        Ok(email) => email,
        Err(fault) => {
            return form(&request, (&typed, next), Some(&invalid("email", "email-wrong", fault)));
        }
    };
    let (password, profile) = (Password::new(password), Profile::default());
    let app = &request.app;
    match super::register(app, email, password, profile, peer.0, client.keep()).await {
        Ok(_) if app.mail.sends() => {
            // The mail has a link, and a code for users who read it on another device.
            let done = request.text_with("registered-mail", &[("email", typed.as_str().into())]);
            let onward = onward(next);
            let values = context! { token => "", email => typed, code => "", own => false, new => false, strength => "", done, onward };
            request.page(StatusCode::CREATED, "verify.html", values)
        }
        Ok(_) => {
            let (title, text) = (request.text("registered-title"), request.text("registered"));
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

fn form(
    request: &PageRequest,
    (email, next): (&str, Option<&str>),
    error: Option<&Error>,
) -> Response {
    let onward = onward(next);
    let values = context! { email, next, onward, strength => strength(request) };
    request.form("register.html", values, error)
}
