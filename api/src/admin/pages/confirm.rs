//! The page on which a superuser confirms an action with the password, if they gave it too long ago. A superuser without
//! a password signs in at a provider again, and then acts.
//!
//! The page keeps the input in hidden fields and sends it to the same path again. So every form and every button of the
//! administration is confirmed in the same way and without scripts.

use std::net::IpAddr;

use minijinja::context;
use poem::Response;

use super::refused;
use crate::access::caller::page::PageRequest;
use crate::access::session::browser::{self, SignedIn};
use crate::app::App;
use crate::base::error::page::Head;
use crate::base::error::{Code, Error, Result};
use crate::http::form::FilledForm;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::factor::{Authentication, Password};
use crate::identity::user;
use crate::self_service::account::pages::message;

/// The actions that may require a confirmation.
const ACTS: [&str; 14] = [
    "export-users",
    "profile",
    "invite",
    "resend-invitation",
    "withdraw-invitation",
    "change",
    "delete",
    "delete-token",
    "create-token",
    "create-service",
    "delete-service",
    "lift",
    "discard",
    "rotate",
];

/// Checks the password in a form. The session is then fresh, and the browser gets another id. An error is a page.
pub(super) async fn prove(
    request: &mut PageRequest,
    signed_in: &SignedIn,
    form: &FilledForm,
    proof: String,
    ip: Option<IpAddr>,
) -> Result<Authentication, Response> {
    let next = browser::new_id();
    let outcome = match proof.is_empty() {
        true => Err(Error::from(Code::FreshTokenRequired)),
        false => freshen(&request.app, signed_in, Password::new(proof), &next, ip).await,
    };
    match outcome {
        Ok(authentication) => {
            request.change_id(&next);
            Ok(authentication)
        }
        Err(error) if error.code() == Code::Unauthorized => {
            Err(request.redirect_to_login(Some("signed-out-meanwhile")))
        }
        Err(error) if error.code() == Code::InternalServerError => Err(refused(request, error)),
        Err(error) => Err(page(request, form, &error).await),
    }
}

/// Checks the password of the signed-in user and makes the session fresh.
async fn freshen(
    app: &App,
    signed_in: &SignedIn,
    password: Password,
    next: &str,
    ip: Option<IpAddr>,
) -> Result<Authentication> {
    let account = Account::User(signed_in.user.id);
    let authentication = password_check::prove(app, account, password, ip).await?;
    browser::freshen(app, signed_in, &authentication, next).await?;
    Ok(authentication)
}

/// The page that asks for the password, with the input of the form. After a wrong password, it has the message.
pub(super) async fn page(request: &PageRequest, form: &FilledForm, error: &Error) -> Response {
    let proof = match super::proof(request).await {
        Ok(proof) => proof,
        Err(error) => return refused(request, error),
    };
    let about = match about(request, form).await {
        Ok(about) => about,
        Err(error) => return refused(request, error),
    };
    let fault = match error.code() {
        Code::FreshProofRequired => String::new(),
        _ => message(request, error),
    };
    let minutes = request.app.config.fresh_token_expires.div_ceil(60);
    let field = match error.code() {
        Code::LoginBadCredentials | Code::FreshTokenRequired => "current",
        _ => "",
    };
    let head = Head::of(error);
    let values = context! {
        act => ACTS.into_iter().find(|act| *act == form.placement.act),
        faulty => form.placement.act,
        field,
        fault,
        about,
        minutes,
        kept => form.sent().map(|(name, text)| vec![name.to_owned(), text.to_owned()]).collect::<Vec<_>>(),
        place => request.place(),
        told => "",
        next => "",
        ..proof
    };
    head.onto(request.page(head.status(), "admin/confirm.html", values))
}

/// The user, service or id that the action is about, from the form or the path.
async fn about(request: &PageRequest, form: &FilledForm) -> Result<String> {
    let user = request.place().strip_prefix("admin/users/").and_then(|id| id.parse().ok());
    if let Some(user) = user {
        let known = user::by_id(&request.app.database, user).await?;
        return Ok(known.map(|known| known.user.email).unwrap_or_default());
    }
    let named = ["username", "email", "name", "id"].into_iter().find_map(|field| form.text(field));
    Ok(named.unwrap_or_default().to_owned())
}
