//! The pages that links in mails lead to. Opening one changes nothing, for programs that look into mails
//! open every link: its button does.

use minijinja::{Value, context};
use poem::http::StatusCode;
use poem::{Response, handler};
use serde::Deserialize;

use crate::audit::Actor;
use crate::confirmation::{Proof, Purpose};
use crate::error::{Code, Error};
use crate::factor::Password;
use crate::factor::pages::{invalid, strength};
use crate::http::caller::PeerAddress;
use crate::http::visitor::{Asked, Sent, Visitor};
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
    asked(&visitor, Purpose::ResetPassword, &own_address(&visitor), None)
}

#[handler]
pub(crate) async fn forgot_password(from: PeerAddress, sent: Sent<Filled>) -> Response {
    ask(Purpose::ResetPassword, from, sent).await
}

fn own_address(visitor: &Visitor) -> String {
    let own = visitor.signed_in.as_ref().map(|signed_in| signed_in.user.email.clone());
    own.unwrap_or_default()
}

#[handler]
pub(crate) fn request_verify_token_form(visitor: Visitor) -> Response {
    asked(&visitor, Purpose::Verify, &own_address(&visitor), None)
}

#[handler]
pub(crate) async fn request_verify_token(from: PeerAddress, sent: Sent<Filled>) -> Response {
    ask(Purpose::Verify, from, sent).await
}

async fn ask(purpose: Purpose, from: PeerAddress, sent: Sent<Filled>) -> Response {
    let Sent { form, visitor, stale } = sent;
    let typed = form.email.unwrap_or_default();
    if let Some(error) = stale {
        return asked(&visitor, purpose, &typed, Some(&error));
    }
    let email = match typed.parse() {
        Ok(email) => email,
        Err(fault) => {
            let error = invalid("email", "email-wrong", fault);
            return asked(&visitor, purpose, &typed, Some(&error));
        }
    };
    let from = from.0.as_deref();
    match super::ask(&visitor.app, purpose, email, Actor::anybody(), from).await {
        Ok(()) => {
            let text = format!("{}-done", place_of(purpose));
            let done = visitor.text_with(&text, &[("email", typed.as_str().into())]);
            // The mail has a link, and a code for who reads it elsewhere.
            let act = if purpose == Purpose::Verify { Act::Verify } else { Act::ResetPassword };
            let filled = Filled { token: None, email: Some(typed), code: None, password: None };
            act.form(&visitor, &filled, context! { done }, None)
        }
        Err(error) => asked(&visitor, purpose, &typed, Some(&error)),
    }
}

fn asked(visitor: &Visitor, purpose: Purpose, email: &str, error: Option<&Error>) -> Response {
    let values = context! { act => place_of(purpose), email };
    visitor.form("ask.html", values, error)
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
        visitor: &Visitor,
        filled: &Filled,
        more: Value,
        error: Option<&Error>,
    ) -> Response {
        let none = context! { code => "" };
        let values = context! {
            act => self.name(),
            strength => (self == Act::ResetPassword).then(|| strength(visitor)),
            token => &filled.token,
            email => &filled.email,
        };
        visitor.form("form.html", context! { ..more, ..values, ..none }, error)
    }

    fn opened(self, visitor: &Visitor, link: Link, email: Option<String>) -> Response {
        let filled = Filled { token: link.token, email, code: None, password: None };
        self.form(visitor, &filled, context! {}, None)
    }

    async fn ended(
        self,
        outcome: Result<(), Error>,
        mut visitor: Visitor,
        filled: &Filled,
    ) -> Response {
        match outcome {
            // Who presses twice has got what they want.
            Err(error) if error.code() != Code::VerifyUserAlreadyVerified => {
                return self.refused(&error, &visitor, filled);
            }
            _ => {}
        }
        // It may have been this browser that was signed out by it.
        if let Err(error) = visitor.look_again().await {
            return visitor.refusal(&visitor.text(self.name()), error);
        }
        let more = match self {
            Act::Verify if visitor.signed_in.is_some() => "account",
            Act::Verify | Act::ResetPassword => "login",
            Act::RestoreEmail => "reset-password",
        };
        let [title, text] =
            ["title", "done"].map(|part| visitor.text(&format!("{}-{part}", self.name())));
        visitor.said(StatusCode::OK, &title, &text, more)
    }

    fn refused(self, error: &Error, visitor: &Visitor, filled: &Filled) -> Response {
        let is_bad =
            [Code::ResetPasswordBadToken, Code::VerifyUserBadToken].contains(&error.code());
        if is_bad && filled.token.is_some() {
            // A link that is no good stays so.
            let (title, text) = (visitor.text(self.name()), visitor.told(error));
            let purpose =
                if self == Act::Verify { Purpose::Verify } else { Purpose::ResetPassword };
            return visitor.refusal_with(&title, &text, place_of(purpose), error);
        }
        if [Code::RestoreEmailBadToken, Code::InternalServerError].contains(&error.code()) {
            let (title, text) = (visitor.text(self.name()), visitor.told(error));
            return visitor.refusal_with(&title, &text, "", error);
        }
        // A code may be typed again, another password chosen, and a button pressed later.
        let fault = match self {
            Act::ResetPassword => {
                ["code-wrong", "password-again"].map(|name| visitor.text(name)).join(" ")
            }
            _ => visitor.text("code-wrong"),
        };
        let values = if is_bad {
            context! { fault }
        } else {
            context! { code => &filled.code }
        };
        self.form(visitor, filled, values, Some(error))
    }
}

#[handler]
pub(crate) fn verify_form(visitor: Visitor, Asked(link): Asked<Link>) -> Response {
    Act::Verify.opened(&visitor, link, None)
}

#[handler]
pub(crate) async fn verify(from: PeerAddress, sent: Sent<Filled>) -> Response {
    let Sent { form, visitor, stale } = sent;
    if let Some(error) = stale {
        return Act::Verify.refused(&error, &visitor, &form);
    }
    let outcome = super::verify(&visitor.app, form.proof(), from.0.as_deref()).await.map(drop);
    Act::Verify.ended(outcome, visitor, &form).await
}

#[handler]
pub(crate) async fn reset_password_form(visitor: Visitor, Asked(link): Asked<Link>) -> Response {
    let Some(token) = &link.token else {
        return Act::ResetPassword.opened(&visitor, link, Some(own_address(&visitor)));
    };
    // Whose password it is, for who has two accounts, and for what keeps passwords.
    match super::addressee(&visitor.app, token).await {
        Ok(email) => Act::ResetPassword.opened(&visitor, link, Some(email)),
        Err(error) => {
            let filled = Filled { token: link.token, email: None, code: None, password: None };
            Act::ResetPassword.refused(&error, &visitor, &filled)
        }
    }
}

#[handler]
pub(crate) async fn reset_password(device: Device, sent: Sent<Filled>) -> Response {
    let Sent { form, visitor, stale } = sent;
    if let Some(error) = stale {
        return Act::ResetPassword.refused(&error, &visitor, &form);
    }
    let password = Password::new(form.password.clone().unwrap_or_default());
    let outcome = super::reset_password(&visitor.app, form.proof(), password, device).await;
    Act::ResetPassword.ended(outcome, visitor, &form).await
}

#[handler]
pub(crate) fn restore_email_form(visitor: Visitor, Asked(link): Asked<Link>) -> Response {
    if link.token.is_none() {
        let title = visitor.text(Act::RestoreEmail.name());
        return visitor.refusal(&title, Code::RestoreEmailBadToken.into());
    }
    Act::RestoreEmail.opened(&visitor, link, None)
}

#[handler]
pub(crate) async fn restore_email(device: Device, sent: Sent<Filled>) -> Response {
    let Sent { form, visitor, stale } = sent;
    if let Some(error) = stale {
        return Act::RestoreEmail.refused(&error, &visitor, &form);
    }
    let token = form.token.clone().unwrap_or_default();
    let outcome = super::restore_email(&visitor.app, &token, device).await.map(drop);
    let form = Filled { token: Some(token), ..form };
    Act::RestoreEmail.ended(outcome, visitor, &form).await
}
