//! The pages that links in mails lead to. Opening one changes nothing, for programs that look into mails
//! open every link: its button does.

use minijinja::context;
use poem::http::StatusCode;
use poem::web::{Data, Form, Query};
use poem::{Response, handler};
use serde::Deserialize;

use crate::app::App;
use crate::confirmation::{Proof, Purpose};
use crate::error::{Code, Error};
use crate::factor::Password;
use crate::http::caller::PeerAddress;
use crate::http::page::{page, refusal};
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

#[handler]
pub(crate) fn forgot_password_form() -> Response {
    asked(StatusCode::OK, "", None)
}

#[handler]
pub(crate) async fn forgot_password(
    app: Data<&App>,
    from: PeerAddress,
    Form(form): Form<Filled>,
) -> Response {
    let typed = form.email.unwrap_or_default();
    let email = match typed.parse() {
        Ok(email) => email,
        Err(fault) => return asked(StatusCode::BAD_REQUEST, &typed, Some(fault)),
    };
    if let Err(error) = super::ask(&app, Purpose::ResetPassword, email, from.0.as_deref()).await {
        return refusal(FORGOT_PASSWORD, error);
    }
    let text = "If there is an account with this address, a mail is on its way with which to choose a \
                new password.";
    let title = FORGOT_PASSWORD;
    page(StatusCode::OK, "said.html", context! { title, text, fault => false, more => "" })
}

const FORGOT_PASSWORD: &str = "Forgot your password?";

fn asked(status: StatusCode, email: &str, fault: Option<&str>) -> Response {
    let values = context! {
        title => FORGOT_PASSWORD,
        text => "A mail with which to choose a new one is sent to the address of your account.",
        email,
        fault,
    };
    page(status, "ask.html", values)
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

    fn ended(&self, outcome: Result<(), Error>, filled: &Filled) -> Response {
        let title = self.title;
        let said = |text: &str| {
            page(StatusCode::OK, "said.html", context! { title, text, fault => false, more => "" })
        };
        let error = match outcome {
            Ok(()) => return said(self.done),
            // Who presses twice has got what they want.
            Err(error) if error.code() == Code::VerifyUserAlreadyVerified => {
                return said(self.done);
            }
            Err(error) => error,
        };
        // A token that is no good stays so; a code may be typed again, and another password chosen.
        let again = filled.token.is_none() || error.code() == Code::ResetPasswordInvalidPassword;
        match (error.code(), error.code().status()) {
            (_, StatusCode::BAD_REQUEST) if again => {
                self.form(StatusCode::BAD_REQUEST, filled, Some(error.to_string()))
            }
            (Code::ResetPasswordBadToken, status) => {
                let (more, label) = ("forgot-password", "Ask for another mail");
                let text = error.to_string();
                page(status, "said.html", context! { title, text, fault => true, more, label })
            }
            _ => refusal(title, error),
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
) -> Response {
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
) -> Response {
    let password = Password::new(form.password.clone().unwrap_or_default());
    let outcome = super::reset_password(&app, form.proof(), password, device).await;
    RESET_PASSWORD.ended(outcome, &form)
}

#[handler]
pub(crate) fn restore_email_form(Query(link): Query<Link>) -> Response {
    if link.token.is_none() {
        return refusal(RESTORE_EMAIL.title, Code::RestoreEmailBadToken.into());
    }
    RESTORE_EMAIL.opened(link)
}

#[handler]
pub(crate) async fn restore_email(
    app: Data<&App>,
    device: Device,
    Form(form): Form<Filled>,
) -> Response {
    let token = form.token.clone().unwrap_or_default();
    let outcome = super::restore_email(&app, &token, device).await.map(drop);
    let form = Filled { token: Some(token), ..form };
    RESTORE_EMAIL.ended(outcome, &form)
}
