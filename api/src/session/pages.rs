//! Signing in and out with a browser.

use minijinja::context;
use poem::http::StatusCode;
use poem::web::{Data, Query};
use poem::{Response, handler};
use serde::Deserialize;

use super::Device;
use super::browser;
use crate::app::App;
use crate::config::Registration;
use crate::error::{Code, Error};
use crate::factor::Password;
use crate::http::page::{page, refusal};
use crate::http::visitor::{Posted, Visitor, next_place, see_other};

/// What leads to a sign-in.
#[derive(Deserialize)]
struct Led {
    next: Option<String>,
}

/// What somebody fills in to sign in.
#[derive(Deserialize)]
struct SignIn {
    email: String,
    password: String,
    next: Option<String>,
}

/// What somebody fills in to sign out: nothing.
#[derive(Deserialize)]
struct SignOut {}

#[handler]
pub(crate) fn lead_to_login() -> Response {
    see_other("./login")
}

#[handler]
pub(crate) fn login_form(app: Data<&App>, visitor: Visitor, Query(led): Query<Led>) -> Response {
    if visitor.signed_in.is_some() {
        return see_other(&next_place(led.next.as_deref()));
    }
    form(&app, StatusCode::OK, &visitor, "", led.next.as_deref(), None)
}

#[handler]
pub(crate) async fn login(app: Data<&App>, device: Device, posted: Posted<SignIn>) -> Response {
    let Posted { form: SignIn { email, password, next }, visitor } = posted;
    let next = next.as_deref();
    match browser::sign_in(&app, &email, Password::new(password), device.clone()).await {
        Ok(id) => {
            // Whoever was signed in here is not any more: nobody could sign them out again.
            if let Some(before) = &visitor.signed_in
                && let Err(error) = browser::sign_out(&app, before, device).await
            {
                return refusal(TITLE, error);
            }
            visitor.moves_to(&app, &id);
            see_other(&next_place(next))
        }
        Err(error) if error.code().status() == StatusCode::BAD_REQUEST => {
            form(&app, StatusCode::BAD_REQUEST, &visitor, &email, next, Some(&error))
        }
        Err(error) => refusal(TITLE, error),
    }
}

const TITLE: &str = "Sign in";

fn form(
    app: &App,
    status: StatusCode,
    visitor: &Visitor,
    email: &str,
    next: Option<&str>,
    fault: Option<&Error>,
) -> Response {
    let fault = fault.map(|error| match error.code() {
        Code::LoginBadCredentials => "The address or the password is not right.".to_owned(),
        Code::LoginUserNotVerified => {
            "Confirm your e-mail address first: a mail was sent to it when you registered."
                .to_owned()
        }
        _ => error.to_string(),
    });
    let values = context! {
        title => TITLE,
        csrf => &visitor.csrf,
        email,
        next,
        fault,
        registration => app.config.registration == Registration::Open,
        mails => app.mailer.sends(),
    };
    page(status, "login.html", values)
}

#[handler]
pub(crate) async fn logout(app: Data<&App>, device: Device, posted: Posted<SignOut>) -> Response {
    let Posted { form: SignOut {}, visitor } = posted;
    if let Some(signed_in) = &visitor.signed_in
        && let Err(error) = browser::sign_out(&app, signed_in, device).await
    {
        return refusal("Sign out", error);
    }
    // What forms of this browser repeated is worth nothing any more.
    visitor.moves_to(&app, &browser::new_id());
    see_other("./login")
}

#[handler]
pub(crate) fn home(visitor: Visitor) -> Response {
    let Some(signed_in) = &visitor.signed_in else { return see_other("./login?next=/") };
    let user = &signed_in.user;
    let values = context! {
        title => "Signed in",
        csrf => &visitor.csrf,
        email => &user.email,
        is_verified => user.is_verified,
        is_superuser => user.is_superuser,
    };
    page(StatusCode::OK, "home.html", values)
}
