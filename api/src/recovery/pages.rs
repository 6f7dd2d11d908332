//! The pages that links in mails lead to. Opening one changes nothing, for programs that look into mails
//! open every link: its button does.

use minijinja::context;
use poem::http::StatusCode;
use poem::{Response, handler};
use serde::Deserialize;

use crate::audit::Actor;
use crate::confirmation::{Proof, Purpose};
use crate::error::{Code, Error};
use crate::factor::Password;
use crate::factor::pages::strength;
use crate::http::caller::PeerAddress;
use crate::http::page::field_of;
use crate::http::visitor::{Asked, Posted, Visitor};
use crate::session::Device;

/// What a link brings.
#[derive(Deserialize)]
struct Link {
    token: Option<String>,
}

/// What a page's button sends.
#[derive(Deserialize)]
struct Filled {
    token: Option<String>,
    email: Option<String>,
    code: Option<String>,
    password: Option<String>,
}

impl Filled {
    fn proof(&self) -> Proof {
        match (self.token.clone(), self.email.clone(), self.code.clone()) {
            (None, Some(email), Some(code)) => Proof::Code { email, code: code.trim().to_owned() },
            (token, ..) => Proof::Token(token.unwrap_or_default()),
        }
    }
}

/// What the texts of a page are known by on which a mail is asked for: its place.
fn place_of(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Verify => "request-verify-token",
        Purpose::ResetPassword => "forgot-password",
    }
}

#[handler]
pub(crate) fn forgot_password_form(visitor: Visitor) -> Response {
    asked(StatusCode::OK, &visitor, Purpose::ResetPassword, "", None)
}

#[handler]
pub(crate) async fn forgot_password(from: PeerAddress, posted: Posted<Filled>) -> Response {
    ask(Purpose::ResetPassword, from, posted).await
}

#[handler]
pub(crate) fn request_verify_token_form(visitor: Visitor) -> Response {
    let email = visitor.signed_in.as_ref().map(|signed_in| signed_in.user.email.clone());
    asked(StatusCode::OK, &visitor, Purpose::Verify, &email.unwrap_or_default(), None)
}

#[handler]
pub(crate) async fn request_verify_token(from: PeerAddress, posted: Posted<Filled>) -> Response {
    ask(Purpose::Verify, from, posted).await
}

async fn ask(purpose: Purpose, from: PeerAddress, posted: Posted<Filled>) -> Response {
    let Posted { form, visitor } = posted;
    let typed = form.email.unwrap_or_default();
    let Ok(email) = typed.parse() else {
        let fault = Some(visitor.text("email-wrong"));
        return asked(StatusCode::BAD_REQUEST, &visitor, purpose, &typed, fault);
    };
    let (name, from) = (place_of(purpose), from.0.as_deref());
    let title = visitor.text(name);
    match super::ask(&visitor.app, purpose, email, Actor::anybody(), from).await {
        Ok(()) => {
            let done = visitor.text(&format!("{name}-done"));
            // The mail has a code, for who reads it elsewhere.
            let more = if purpose == Purpose::Verify { "verify" } else { "reset-password" };
            visitor.said(StatusCode::OK, &title, &done, more)
        }
        Err(error) => visitor.refusal(&title, error),
    }
}

fn asked(
    status: StatusCode,
    visitor: &Visitor,
    purpose: Purpose,
    email: &str,
    fault: Option<String>,
) -> Response {
    let field = fault.as_ref().map(|_| "email");
    visitor.page(status, "ask.html", context! { act => place_of(purpose), email, field, fault })
}

/// What a page is for: its place, and what its texts are known by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Verify,
    ResetPassword,
    RestoreEmail,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Act::Verify => "verify",
            Act::ResetPassword => "reset-password",
            Act::RestoreEmail => "restore-email",
        }
    }

    fn form(
        self,
        status: StatusCode,
        visitor: &Visitor,
        filled: &Filled,
        fault: Option<(&str, String)>,
    ) -> Response {
        let (field, fault) = fault.unzip();
        let values = context! {
            act => self.name(),
            field,
            strength => (self == Act::ResetPassword).then(|| strength(visitor)),
            token => &filled.token,
            email => &filled.email,
            fault,
        };
        visitor.page(status, "form.html", values)
    }

    fn opened(self, visitor: &Visitor, link: Link) -> Response {
        let filled = Filled { token: link.token, email: None, code: None, password: None };
        self.form(StatusCode::OK, visitor, &filled, None)
    }

    fn ended(self, outcome: Result<(), Error>, visitor: &Visitor, filled: &Filled) -> Response {
        let title = visitor.text(self.name());
        let done = || {
            let more = if self == Act::Verify { "" } else { "login" };
            let text = visitor.text(&format!("{}-done", self.name()));
            visitor.said(StatusCode::OK, &title, &text, more)
        };
        let error = match outcome {
            Ok(()) => return done(),
            // Who presses twice has got what they want.
            Err(error) if error.code() == Code::VerifyUserAlreadyVerified => return done(),
            Err(error) => error,
        };
        // A token that is no good stays so; a code may be typed again, and another password chosen.
        let again = filled.token.is_none() || error.code() == Code::ResetPasswordInvalidPassword;
        match (error.code(), error.code().status()) {
            (_, StatusCode::BAD_REQUEST) if again => {
                let fault = Some((field_of(&error), visitor.told(&error)));
                self.form(StatusCode::BAD_REQUEST, visitor, filled, fault)
            }
            (Code::ResetPasswordBadToken | Code::VerifyUserBadToken, _) => {
                let purpose = match self {
                    Act::Verify => Purpose::Verify,
                    _ => Purpose::ResetPassword,
                };
                let text = visitor.told(&error);
                visitor.refusal_with(&title, &text, place_of(purpose), &error)
            }
            _ => visitor.refusal(&title, error),
        }
    }
}

#[handler]
pub(crate) fn verify_form(visitor: Visitor, Asked(link): Asked<Link>) -> Response {
    Act::Verify.opened(&visitor, link)
}

#[handler]
pub(crate) async fn verify(from: PeerAddress, posted: Posted<Filled>) -> Response {
    let Posted { form, visitor } = posted;
    let outcome = super::verify(&visitor.app, form.proof(), from.0.as_deref()).await.map(drop);
    Act::Verify.ended(outcome, &visitor, &form)
}

#[handler]
pub(crate) fn reset_password_form(visitor: Visitor, Asked(link): Asked<Link>) -> Response {
    Act::ResetPassword.opened(&visitor, link)
}

#[handler]
pub(crate) async fn reset_password(device: Device, posted: Posted<Filled>) -> Response {
    let Posted { form, visitor } = posted;
    let password = Password::new(form.password.clone().unwrap_or_default());
    let outcome = super::reset_password(&visitor.app, form.proof(), password, device).await;
    Act::ResetPassword.ended(outcome, &visitor, &form)
}

#[handler]
pub(crate) fn restore_email_form(visitor: Visitor, Asked(link): Asked<Link>) -> Response {
    if link.token.is_none() {
        let title = visitor.text(Act::RestoreEmail.name());
        return visitor.refusal(&title, Code::RestoreEmailBadToken.into());
    }
    Act::RestoreEmail.opened(&visitor, link)
}

#[handler]
pub(crate) async fn restore_email(device: Device, posted: Posted<Filled>) -> Response {
    let Posted { form, visitor } = posted;
    let token = form.token.clone().unwrap_or_default();
    let outcome = super::restore_email(&visitor.app, &token, device).await.map(drop);
    let form = Filled { token: Some(token), ..form };
    Act::RestoreEmail.ended(outcome, &visitor, &form)
}
