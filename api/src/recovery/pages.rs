//! The pages that links in mails lead to. Opening one changes nothing, for programs that look into mails
//! open every link: its button does.

use minijinja::context;
use poem::http::StatusCode;
use poem::web::{Data, Form, Query};
use poem::{Response, handler};
use serde::Deserialize;

use crate::app::App;
use crate::confirmation::Proof;
use crate::error::{Code, Error};
use crate::factor::Password;
use crate::http::caller::PeerAddress;
use crate::http::page::page;
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

/// What a page is for. Where its form goes is said beside it: `PUBLIC_URL` may have a path.
struct Act {
    title: &'static str,
    text: &'static str,
    action: &'static str,
    button: &'static str,
    wants_password: bool,
    done: &'static str,
}

const VERIFY: Act = Act {
    title: "Confirm your e-mail address",
    text: "Confirm that this e-mail address is yours.",
    action: "verify",
    button: "Confirm",
    wants_password: false,
    done: "Your e-mail address is confirmed. You can close this page.",
};

const RESET_PASSWORD: Act = Act {
    title: "Choose a new password",
    text: "You will be signed out everywhere, and sign in with the new password.",
    action: "reset-password",
    button: "Set password",
    wants_password: true,
    done: "You have a new password. Sign in with it.",
};

const RESTORE_EMAIL: Act = Act {
    title: "Take back your e-mail address",
    text: "Your account gets its former e-mail address again, and is signed out everywhere.",
    action: "restore-email",
    button: "Take it back",
    wants_password: false,
    done: "Your account has its former e-mail address again, and was signed out everywhere. A mail \
           is on its way with which to choose a new password: do that now.",
};

impl Act {
    fn form(&self, status: StatusCode, filled: &Filled, fault: Option<String>) -> Response {
        let values = context! {
            title => self.title,
            text => self.text,
            action => self.action,
            button => self.button,
            wants_password => self.wants_password,
            token => &filled.token,
            email => &filled.email,
            fault => fault,
        };
        page(status, "form.html", values)
    }

    fn opened(&self, link: Link) -> Response {
        let filled = Filled { token: link.token, email: None, code: None, password: None };
        self.form(StatusCode::OK, &filled, None)
    }

    fn ended(&self, outcome: Result<(), Error>, filled: &Filled) -> poem::Result<Response> {
        let said = |status, text: &str, fault: bool| {
            page(status, "said.html", context! { title => self.title, text, fault })
        };
        let error = match outcome {
            Ok(()) => return Ok(said(StatusCode::OK, self.done, false)),
            Err(error) => error,
        };
        let status = error.code().status();
        // A token that is no good stays so; a code may be typed again, and another password chosen.
        let again = filled.token.is_none() || error.code() == Code::ResetPasswordInvalidPassword;
        match status {
            StatusCode::BAD_REQUEST if again => {
                Ok(self.form(status, filled, Some(error.to_string())))
            }
            StatusCode::BAD_REQUEST => Ok(said(status, &error.to_string(), true)),
            // With Retry-After, and in the log.
            _ => Err(error.into()),
        }
    }
}

#[handler]
pub(crate) fn verify_form(Query(link): Query<Link>) -> Response {
    VERIFY.opened(link)
}

#[handler]
pub(crate) async fn verify(
    app: Data<&App>,
    from: PeerAddress,
    Form(form): Form<Filled>,
) -> poem::Result<Response> {
    let outcome = super::verify(&app, form.proof(), from.0.as_deref()).await.map(drop);
    VERIFY.ended(outcome, &form)
}

#[handler]
pub(crate) fn reset_password_form(Query(link): Query<Link>) -> Response {
    RESET_PASSWORD.opened(link)
}

#[handler]
pub(crate) async fn reset_password(
    app: Data<&App>,
    device: Device,
    Form(form): Form<Filled>,
) -> poem::Result<Response> {
    let password = Password::new(form.password.clone().unwrap_or_default());
    let outcome = super::reset_password(&app, form.proof(), password, device).await;
    RESET_PASSWORD.ended(outcome, &form)
}

#[handler]
pub(crate) fn restore_email_form(Query(link): Query<Link>) -> Response {
    let filled = Filled {
        token: Some(link.token.unwrap_or_default()),
        email: None,
        code: None,
        password: None,
    };
    RESTORE_EMAIL.form(StatusCode::OK, &filled, None)
}

#[handler]
pub(crate) async fn restore_email(
    app: Data<&App>,
    device: Device,
    Form(form): Form<Filled>,
) -> poem::Result<Response> {
    let token = form.token.clone().unwrap_or_default();
    let outcome = super::restore_email(&app, &token, device).await.map(drop);
    let form = Filled { token: Some(token), ..form };
    RESTORE_EMAIL.ended(outcome, &form)
}
