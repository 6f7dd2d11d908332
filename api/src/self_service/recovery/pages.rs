//! The pages that links in mails open. Opening a page changes nothing, because programs that scan mail open every link.
//! The user must press a button.

use minijinja::{Value, context};
use poem::http::StatusCode;
use poem::{Response, handler};
use serde::Deserialize;

use super::{Addressee, Ends, Evidence};
use crate::access::caller::UserCaller;
use crate::access::caller::page::{Form, PageRequest};
use crate::access::session::Device;
use crate::base::error::{Code, Error};
use crate::base::mail_address::are_same;
use crate::http::browser_request::PageQuery;
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::factor::Password;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::verification::client::CodeClient;
use crate::identity::verification::{self, Proof, Purpose};
use crate::platform::audit::Actor;
use crate::self_service::account;
use crate::self_service::registration::pages::{invalid, strength};

/// The form of the page `/verify` that sets a new password.
const TAKE_OVER: &str = "take-over";

/// The form of the page `/restore-email` that cancels its link.
const CANCEL_LINK: &str = "cancel-link";

/// The query of a link.
#[derive(Deserialize)]
struct Link {
    token: Option<String>,
}

/// The form of a page.
#[derive(Deserialize)]
struct MailForm {
    token: Option<String>,
    email: Option<String>,
    code: Option<String>,
    password: Option<String>,
    /// The account's current password.
    current: Option<String>,
    /// The form that was sent, on pages with two forms.
    act: Option<String>,
    /// The checkbox to delete API tokens too.
    delete_api_tokens: Option<String>,
}

impl MailForm {
    /// The values of an empty form.
    fn empty(token: Option<String>, email: Option<String>) -> Self {
        Self {
            token,
            email,
            code: None,
            password: None,
            current: None,
            act: None,
            delete_api_tokens: None,
        }
    }

    /// Returns true if this is the form that takes an account over.
    fn takes_over(&self) -> bool {
        self.act.as_deref() == Some(TAKE_OVER)
    }

    fn proof(&self) -> Proof {
        match (self.token.clone(), self.email.clone(), self.code.clone()) {
            (None, Some(email), Some(code)) => Proof::of_code(email, &code),
            (token, ..) => Proof::of_token(&token.unwrap_or_default()),
        }
    }
}

/// The path of the page on which a mail is requested. It is also the name of its texts.
fn place_of(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Verify => "request-verify-token",
        Purpose::ResetPassword => "forgot-password",
    }
}

/// The pages of this module.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::form("/forgot-password", forgot_password_form, forgot_password),
        PageRoute::form("/request-verify-token", request_verify_token_form, request_verify_token),
        PageRoute::form("/verify", verify_form, verify),
        PageRoute::form("/reset-password", reset_password_form, reset_password),
        PageRoute::form("/restore-email", restore_email_form, restore_email),
    ]
}

#[handler]
fn forgot_password_form(request: PageRequest) -> Response {
    asked(&request, Purpose::ResetPassword, &own_address(&request), None)
}

#[handler]
async fn forgot_password(peer: PeerAddress, client: CodeClient, sent: Form<MailForm>) -> Response {
    ask(Purpose::ResetPassword, peer, client, sent).await
}

fn own_address(request: &PageRequest) -> String {
    let own = request.signed_in.as_ref().map(|signed_in| signed_in.user.email.clone());
    own.unwrap_or_default()
}

#[handler]
fn request_verify_token_form(request: PageRequest) -> Response {
    asked(&request, Purpose::Verify, &own_address(&request), None)
}

#[handler]
async fn request_verify_token(
    peer: PeerAddress,
    client: CodeClient,
    sent: Form<MailForm>,
) -> Response {
    ask(Purpose::Verify, peer, client, sent).await
}

async fn ask(
    purpose: Purpose,
    peer: PeerAddress,
    client: CodeClient,
    sent: Form<MailForm>,
) -> Response {
    let Form { form, request, stale } = sent;
    let typed = form.email.unwrap_or_default();
    if let Some(error) = stale {
        return asked(&request, purpose, &typed, Some(&error));
    }
    let email = match typed.parse() {
        Ok(email) => email,
        Err(fault) => {
            let error = invalid("email", "email-wrong", fault);
            return asked(&request, purpose, &typed, Some(&error));
        }
    };
    let (by, ip, client) = (Actor::anybody(), peer.0, client.keep());
    match super::ask(&request.app, purpose, email, by, ip, client).await {
        Ok(()) => {
            let text = format!("{}-done", place_of(purpose));
            let done = request.text_with(&text, &[("email", typed.as_str().into())]);
            // The mail has a link, and a code for users who read it on another device.
            let act =
                if purpose == Purpose::Verify { MailPage::Verify } else { MailPage::ResetPassword };
            let filled = MailForm::empty(None, Some(typed));
            let own = is_own(&request, filled.email.as_deref().unwrap_or_default());
            act.form(&request, &filled, context! { done, own }, None)
        }
        Err(error) => asked(&request, purpose, &typed, Some(&error)),
    }
}

fn asked(request: &PageRequest, purpose: Purpose, email: &str, error: Option<&Error>) -> Response {
    if let Err(refusal) = super::require_mail(&request.app) {
        return request.refusal(&request.text(place_of(purpose)), refusal);
    }
    let values = context! { act => place_of(purpose), email };
    request.form("ask.html", values, error)
}

/// A page's path, which is also the name of its texts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MailPage {
    Verify,
    ResetPassword,
    RestoreEmail,
}

impl MailPage {
    fn name(self) -> &'static str {
        match self {
            MailPage::Verify => "verify",
            MailPage::ResetPassword => "reset-password",
            MailPage::RestoreEmail => "restore-email",
        }
    }

    fn form(
        self,
        request: &PageRequest,
        filled: &MailForm,
        more: Value,
        error: Option<&Error>,
    ) -> Response {
        let none = context! { code => "", own => false, new => false, tokens => "", deletes => "", cancels => "" };
        let chooses =
            self == MailPage::ResetPassword || self == MailPage::Verify && filled.token.is_some();
        let values = context! {
            act => self.name(),
            strength => chooses.then(|| strength(request)),
            token => &filled.token,
            email => &filled.email,
            faulty => filled.act.as_deref().unwrap_or_default(),
        };
        let template = if self == MailPage::Verify { "verify.html" } else { "form.html" };
        request.form(template, context! { ..more, ..values, ..none }, error)
    }

    fn opened(
        self,
        request: &PageRequest,
        link: Link,
        email: Option<String>,
        more: Value,
    ) -> Response {
        self.form(request, &MailForm::empty(link.token, email), more, None)
    }

    async fn ended(
        self,
        outcome: Result<(), Error>,
        mut request: PageRequest,
        filled: &MailForm,
        more: Value,
    ) -> Response {
        match outcome {
            // A user who presses the button twice sees the success too.
            Err(error) if error.code() != Code::VerifyUserAlreadyVerified => {
                return self.refused(&error, &request, filled, more);
            }
            _ => {}
        }
        // The form may have signed this browser out.
        if let Err(error) = request.find_again().await {
            return request.refusal(&request.text(self.name()), error);
        }
        let more = match self {
            MailPage::Verify if request.signed_in.is_some() => "account",
            MailPage::Verify | MailPage::ResetPassword => "login",
            MailPage::RestoreEmail => "reset-password",
        };
        let [title, text] =
            ["title", "done"].map(|part| request.text(&format!("{}-{part}", self.name())));
        request.said(StatusCode::OK, &title, &text, more)
    }

    /// The page for a link that has no effect any more. It links to the page that requests another mail.
    fn stale_link(self, error: &Error, request: &PageRequest) -> Response {
        let (title, text) = (request.text(self.name()), request.message(error));
        let purpose =
            if self == MailPage::Verify { Purpose::Verify } else { Purpose::ResetPassword };
        request.refusal_with(&title, &text, place_of(purpose), error)
    }

    fn refused(
        self,
        error: &Error,
        request: &PageRequest,
        filled: &MailForm,
        more: Value,
    ) -> Response {
        let is_bad =
            [Code::ResetPasswordBadToken, Code::VerifyUserBadToken].contains(&error.code());
        if is_bad && filled.token.is_some() {
            // A link that is not valid stays invalid.
            return self.stale_link(error, request);
        }
        if [
            Code::RestoreEmailBadToken,
            Code::UpdateUserEmailAlreadyExists,
            Code::InternalServerError,
        ]
        .contains(&error.code())
        {
            let (title, text) = (request.text(self.name()), request.message(error));
            return request.refusal_with(&title, &text, "", error);
        }
        // The user can enter the code again, choose another password, or press the button later.
        let again = match self {
            MailPage::ResetPassword => Some("password-again"),
            MailPage::Verify if more.get_attr("own").is_ok_and(|own| own.is_true()) => None,
            MailPage::Verify => Some("current-again"),
            MailPage::RestoreEmail => None,
        };
        let fault: Vec<_> =
            ["code-wrong"].into_iter().chain(again).map(|name| request.text(name)).collect();
        let values = match error.code() {
            _ if is_bad => context! { fault => fault.join(" ") },
            // If credentials are wrong, it must be the password.
            Code::LoginBadCredentials => {
                context! { code => &filled.code, fault => request.text("password-wrong") }
            }
            Code::FreshTokenRequired => {
                context! { code => &filled.code, fault => request.text("password-missing") }
            }
            _ => context! { code => &filled.code },
        };
        let ticked = context! { deletes => filled.delete_api_tokens.is_some() };
        self.form(request, filled, context! { ..values, ..ticked, ..more }, Some(error))
    }
}

/// The values of the page that confirms an address. They depend on the signed-in user.
fn verify_values(request: &PageRequest, found: &Addressee) -> Value {
    let own = request.signed_in.as_ref().is_some_and(|signed_in| signed_in.user.id == found.user);
    context! { own, new => found.is_new }
}

/// Returns true if the browser is signed in with this address.
fn is_own(request: &PageRequest, email: &str) -> bool {
    let own = request.signed_in.as_ref().map(|signed_in| signed_in.user.email.as_str());
    own.is_some_and(|own| are_same(own, email))
}

#[handler]
async fn verify_form(request: PageRequest, PageQuery(link): PageQuery<Link>) -> Response {
    let Some(token) = &link.token else {
        if let Err(refusal) = super::require_mail(&request.app) {
            return request.refusal(&request.text("verify"), refusal);
        }
        let own = own_address(&request);
        let more = context! { own => is_own(&request, &own) };
        return MailPage::Verify.opened(&request, link, Some(own), more);
    };
    match super::addressee(&request.app, Purpose::Verify, token).await {
        Ok(found) => {
            let more = verify_values(&request, &found);
            MailPage::Verify.opened(&request, link, Some(found.email), more)
        }
        Err(error) if error.code() == Code::VerifyUserAlreadyVerified => {
            MailPage::Verify.ended(Ok(()), request, &MailForm::empty(None, None), context! {}).await
        }
        Err(error) => MailPage::Verify.stale_link(&error, &request),
    }
}

#[handler]
async fn verify(device: Device, client: CodeClient, sent: Form<MailForm>) -> Response {
    let Form { mut form, request, stale } = sent;
    let more = match &form.token {
        // The address comes from the link's account, not from the form.
        Some(token) => {
            let found = super::addressee(&request.app, Purpose::Verify, token).await.ok();
            let more = found.as_ref().map(|found| verify_values(&request, found));
            form.email = found.map(|found| found.email);
            more.unwrap_or_else(|| context! {})
        }
        None => {
            context! { own => is_own(&request, form.email.as_deref().unwrap_or_default()) }
        }
    };
    let is_own = more.get_attr("own").is_ok_and(|own| own.is_true());
    if let Some(error) = stale {
        return MailPage::Verify.refused(&error, &request, &form, more);
    }
    if form.takes_over() {
        return take_over(device, request, form, more).await;
    }
    let evidence = match (&form.current, &request.signed_in) {
        (None, Some(signed_in)) if is_own => Evidence::Browser(signed_in),
        (current, _) => Evidence::Password(Password::new(current.clone().unwrap_or_default())),
    };
    let ip = device.ip;
    let proof = form.proof().shown_by(client.shown());
    let outcome = super::verify(&request.app, proof, evidence, ip).await.map(drop);
    MailPage::Verify.ended(outcome, request, &form, more).await
}

/// Sets the new password of an account that somebody else may have registered.
async fn take_over(
    device: Device,
    mut request: PageRequest,
    form: MailForm,
    more: Value,
) -> Response {
    let password = Password::new(form.password.clone().unwrap_or_default());
    let token = form.token.clone().unwrap_or_default();
    match super::take_over(&request.app, token, password, device).await {
        Ok(()) => {}
        // The new password was not set, so the page must not show success.
        Err(error) if error.code() == Code::VerifyUserAlreadyVerified => {
            let (title, text) = (request.text("verify"), request.message(&error));
            return request.refusal_with(&title, &text, "forgot-password", &error);
        }
        Err(error) => return MailPage::Verify.refused(&error, &request, &form, more),
    }
    if let Err(error) = request.find_again().await {
        return request.refusal(&request.text("verify"), error);
    }
    let [title, text] = ["title", "done"].map(|part| request.text(&format!("take-over-{part}")));
    request.said(StatusCode::OK, &title, &text, "login")
}

/// The values for API tokens: how many exist, and whether the new password deletes them all.
fn tokens_of(found: &Addressee) -> Value {
    context! { tokens => context! {
        count => found.api_tokens,
        all => found.ends_everything,
    } }
}

#[handler]
async fn reset_password_form(request: PageRequest, PageQuery(link): PageQuery<Link>) -> Response {
    let Some(token) = &link.token else {
        if let Err(refusal) = super::require_mail(&request.app) {
            return request.refusal(&request.text("reset-password"), refusal);
        }
        let own = own_address(&request);
        return MailPage::ResetPassword.opened(&request, link, Some(own), context! {});
    };
    // The page shows the address, for users with several accounts and for password managers.
    match super::addressee(&request.app, Purpose::ResetPassword, token).await {
        Ok(found) => {
            let more = tokens_of(&found);
            MailPage::ResetPassword.opened(&request, link, Some(found.email), more)
        }
        Err(error) => MailPage::ResetPassword.stale_link(&error, &request),
    }
}

#[handler]
async fn reset_password(device: Device, client: CodeClient, sent: Form<MailForm>) -> Response {
    let Form { form, request, stale } = sent;
    let more = match &form.token {
        Some(token) => {
            let found = super::addressee(&request.app, Purpose::ResetPassword, token).await;
            found.map_or_else(|_| context! {}, |found| tokens_of(&found))
        }
        None => context! {},
    };
    if let Some(error) = stale {
        return MailPage::ResetPassword.refused(&error, &request, &form, more);
    }
    let password = Password::new(form.password.clone().unwrap_or_default());
    let too = form.delete_api_tokens.is_some();
    let ends = if too { Ends::ApiTokensToo } else { Ends::SessionsOnly };
    let proof = form.proof().shown_by(client.shown());
    let outcome = super::reset_password(&request.app, proof, password, ends, device).await;
    MailPage::ResetPassword.ended(outcome, request, &form, more).await
}

#[handler]
async fn restore_email_form(request: PageRequest, PageQuery(link): PageQuery<Link>) -> Response {
    let Some(token) = &link.token else {
        let title = request.text(MailPage::RestoreEmail.name());
        return request.refusal(&title, Code::RestoreEmailBadToken.into());
    };
    let more = restore_values(&request, token).await;
    MailPage::RestoreEmail.opened(&request, link, None, more)
}

/// The values of the page that restores an address. In a browser that is signed in to the account, the page also offers
/// to cancel the link.
async fn restore_values(request: &PageRequest, token: &str) -> Value {
    let found = verification::find_former(request.app.database.reader(), token).await;
    let user = found.ok().flatten().map(|found| found.user);
    let own = request.signed_in.as_ref().map(|signed_in| signed_in.user.id);
    context! { cancels => user.is_some() && user == own }
}

#[handler]
async fn restore_email(device: Device, client: CodeClient, sent: Form<MailForm>) -> Response {
    let Form { form, request, stale } = sent;
    let token = form.token.clone().unwrap_or_default();
    let more = restore_values(&request, &token).await;
    if let Some(error) = stale {
        return MailPage::RestoreEmail.refused(&error, &request, &form, more);
    }
    if form.act.as_deref() == Some(CANCEL_LINK) {
        return cancel_link(device, request, form, token, more).await;
    }
    let restored = super::restore_email(&request.app, &token, device, client.keep()).await;
    let outcome = restored.map(drop);
    let form = MailForm { token: Some(token), ..form };
    MailPage::RestoreEmail.ended(outcome, request, &form, more).await
}

/// Cancels the link for the signed-in user, who gives the password.
async fn cancel_link(
    device: Device,
    request: PageRequest,
    form: MailForm,
    token: String,
    more: Value,
) -> Response {
    let Some(signed_in) = &request.signed_in else {
        return request.redirect_to_login(Some("signed-out-meanwhile"));
    };
    let current = Password::new(form.current.clone().unwrap_or_default());
    let cancelled = async {
        let ip = device.ip;
        let account = Account::User(signed_in.user.id);
        let authentication = password_check::prove(&request.app, account, current, ip).await?;
        let caller = UserCaller::browser(signed_in, Some(authentication), None);
        account::cancel_links(&request.app, &caller, Some(token)).await
    };
    match cancelled.await {
        Ok(()) => request.redirect_with_flash("account/email", "email", "link-cancelled"),
        Err(error) => MailPage::RestoreEmail.refused(&error, &request, &form, more),
    }
}
