//! The pages of the account. Each section has a page of its own, and one proof counts for all of them.

pub(crate) mod form;
mod values;

use minijinja::{Value, context};
use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response, handler};
use strum::VariantArray;

use self::form::{AccountForm, ExportForm, Posted, TokenForm};
use super::download::Download;
use super::{Export, ProfileUpdate};
use crate::access::caller::UserCaller;
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::access::session::Device;
use crate::access::session::browser::{self, SignedIn};
use crate::app::App;
use crate::base::error::page::Head;
use crate::base::error::{Code, Error, Result};
use crate::federation::federated_identity;
use crate::http::form::{Field, FilledForm, Placement};
use crate::http::page::Frame;
use crate::http::paths::PageRoute;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::factor::{Authentication, Password};
use crate::identity::user::Email;
use crate::identity::verification::Binding;
use crate::identity::verification::client::CodeClient;
use crate::self_service;
use crate::self_service::api_token::{self, Selection};
use crate::self_service::registration;
use crate::self_service::registration::pages::invalid;

/// A page of the account, with an address of its own.
#[derive(Clone, Copy, PartialEq, Eq, VariantArray)]
enum Section {
    Profile,
    Email,
    Password,
    Sessions,
    Events,
    Tokens,
    Data,
}

impl Section {
    /// The path of the page, and its template.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Section::Profile => ("account", "account/profile.html"),
            Section::Email => ("account/email", "account/email.html"),
            Section::Password => ("account/password", "account/password.html"),
            Section::Sessions => ("account/sessions", "account/sessions.html"),
            Section::Events => ("account/events", "account/events.html"),
            Section::Tokens => ("account/tokens", "account/tokens.html"),
            Section::Data => ("account/data", "account/data.html"),
        }
    }

    /// The page of a request.
    fn of(request: &PageRequest) -> Self {
        let path = request.place().split('?').next().unwrap_or_default().trim_end_matches('/');
        let known = Self::VARIANTS.iter().find(|section| section.place().0 == path);
        known.copied().unwrap_or(Section::Profile)
    }
}

/// The result of a form that was not refused.
enum Outcome {
    /// Success: the name of the text that says so.
    Flash(&'static str),
    /// A new API token: its secret, which is shown once.
    Secret(String),
    /// The account was deleted.
    Deleted,
}

/// The pages of this module.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::form("/account", show, change),
        PageRoute::form("/account/email", show, change),
        PageRoute::form("/account/password", show, change),
        PageRoute::form("/account/sessions", show, change),
        PageRoute::form("/account/events", show, change),
        PageRoute::form("/account/tokens", show, change),
        PageRoute::form("/account/data", show, change),
        PageRoute::get("/.well-known/change-password", redirect_to_password),
        PageRoute::post("/account/export", export),
    ]
}

#[handler]
async fn show(request: PageRequest) -> poem::Result<Response> {
    let signed_in = request.signed_in()?;
    let section = Section::of(&request);
    Ok(shown(section, &request, &signed_in, StatusCode::OK, context! {}).await)
}

/// Redirects password managers to the page for changing the password.
#[handler]
fn redirect_to_password(frame: Frame) -> Response {
    frame.redirect("account/password")
}

/// Each page takes every form. A page of an earlier version sends all of them to `/account`.
#[handler]
async fn change(
    device: Device,
    client: CodeClient,
    posted: CheckedForm<Posted>,
) -> poem::Result<Response> {
    let CheckedForm { form: Posted { current, form }, mut request } = posted;
    let signed_in = request.signed_in()?;
    let (filled, page) = (FilledForm::of(&form), form.section());
    let next = matches!(form, AccountForm::Password { .. }).then(browser::new_id);
    // Without a new address there is no mail and so no code.
    let client = if matches!(form, AccountForm::Email { .. }) { client.keep() } else { None };
    let outcome = match proved(&mut request, &signed_in, current, &form, &device).await {
        Ok(authentication) => {
            let caller = UserCaller::browser(&signed_in, authentication, next.clone());
            act(&request.app, &signed_in, &caller, form, device, client).await
        }
        Err(error) => Err(error),
    };
    if let Some(next) = next.filter(|_| outcome.is_ok()) {
        request.change_id(&next);
    }
    let section = filled.placement.section;
    let (status, values) = match outcome {
        Ok(Outcome::Flash(name)) => {
            return Ok(request.redirect_with_flash(page.place().0, section, name));
        }
        Ok(Outcome::Deleted) => {
            request.signed_in = None;
            request.change_id(&browser::new_id());
            let (title, text) =
                (request.text("account-deleted-title"), request.text("account-deleted"));
            return Ok(request.said(StatusCode::OK, &title, &text, "login"));
        }
        Ok(Outcome::Secret(secret)) => (StatusCode::CREATED, context! { secret, section }),
        Err(error) => return Ok(refused(page, &request, &signed_in, &filled, error).await),
    };
    Ok(shown(page, &request, &signed_in, status, values).await)
}

/// Returns the proof of the user: the password in the form, or the one that they gave in this browser a moment ago. A
/// password in the form counts for the forms that follow.
async fn proved(
    request: &mut PageRequest,
    signed_in: &SignedIn,
    current: Option<String>,
    form: &AccountForm,
    device: &Device,
) -> Result<Option<Authentication>> {
    let Some(current) = current else {
        return browser::standing_proof(&request.app, signed_in).await;
    };
    let authentication = checked(&request.app, signed_in, current, device).await?;
    if form.keeps_proof() {
        let next = browser::new_id();
        browser::remember_proof(&request.app, signed_in, &authentication, &next).await?;
        request.change_id(&next);
    }
    Ok(Some(authentication))
}

/// Checks the password in a form.
async fn checked(
    app: &App,
    signed_in: &SignedIn,
    current: String,
    device: &Device,
) -> Result<Authentication> {
    let account = Account::User(signed_in.user.id);
    password_check::prove(app, account, Password::new(current), device.ip).await
}

/// Shows the page again with the error and the input of a form.
async fn refused(
    page: Section,
    request: &PageRequest,
    signed_in: &SignedIn,
    form: &FilledForm,
    error: Error,
) -> Response {
    if error.code() == Code::InternalServerError {
        return request.refusal(&request.text("your-account"), error);
    }
    let fault = message(request, &error);
    let Placement { act: faulty, section, .. } = form.placement;
    let field = form.faulty_field(&error);
    let values = context! { fault, faulty, field, section, typed => form.typed() };
    let head = Head::of(&error);
    head.onto(shown(page, request, signed_in, head.status(), values).await)
}

/// The message of an error for a signed-in user. If credentials are wrong, it must be the password.
pub(crate) fn message(request: &PageRequest, error: &Error) -> String {
    match error.code() {
        Code::LoginBadCredentials => request.text("password-wrong"),
        Code::FreshTokenRequired => request.text("password-missing"),
        _ => request.message(error),
    }
}

/// Performs the action of a form.
async fn act(
    app: &App,
    signed_in: &SignedIn,
    caller: &UserCaller,
    form: AccountForm,
    device: Device,
    client: Option<Binding>,
) -> Result<Outcome> {
    match form {
        AccountForm::Profile(profile) => {
            super::change(app, caller, profile.update()?, device, client).await?;
            Ok(Outcome::Flash("saved"))
        }
        AccountForm::Email { email } => {
            change_email(app, signed_in, caller, email, device, client).await
        }
        AccountForm::CancelEmail => {
            super::cancel(app, caller).await?;
            Ok(Outcome::Flash("email-cancelled"))
        }
        AccountForm::CancelLinks => {
            super::cancel_links(app, caller, None).await?;
            Ok(Outcome::Flash("link-cancelled"))
        }
        AccountForm::Password { password } => {
            change_password(app, caller, password, device, client).await
        }
        AccountForm::EndSession { id } => {
            self_service::session::end(app, caller, &id, device).await?;
            Ok(Outcome::Flash("signed-out-there"))
        }
        AccountForm::NotMe { id } => end_foreign(app, caller, &id, device).await,
        AccountForm::EndOthers => {
            self_service::session::end_others(app, caller, device).await?;
            Ok(Outcome::Flash("signed-out-others"))
        }
        AccountForm::CreateToken(token) => create_token(app, caller, token).await,
        AccountForm::DeleteToken { id } => delete_token(app, caller, id).await,
        AccountForm::Unlink { id } => federated_identity::unlink(app, caller, &id)
            .await
            .map(|()| Outcome::Flash("way-unlinked")),
        AccountForm::Delete => {
            super::delete(app, caller, device).await?;
            Ok(Outcome::Deleted)
        }
        AccountForm::Unknown => Err(Code::UnprocessableContent.into()),
    }
}

async fn change_password(
    app: &App,
    caller: &UserCaller,
    password: String,
    device: Device,
    client: Option<Binding>,
) -> Result<Outcome> {
    let password = Some(Password::new(password));
    let update = ProfileUpdate { password, ..ProfileUpdate::default() };
    super::change(app, caller, update, device, client).await?;
    Ok(Outcome::Flash("password-changed"))
}

async fn create_token(app: &App, caller: &UserCaller, token: TokenForm) -> Result<Outcome> {
    let made = api_token::create(app, caller.caller(), token.new_token()?).await?;
    Ok(Outcome::Secret(made.secret.expose().to_owned()))
}

async fn delete_token(app: &App, caller: &UserCaller, id: String) -> Result<Outcome> {
    if api_token::delete(app, caller.caller(), Selection::Own(id)).await? == 0 {
        return Err(Code::NotFound.into());
    }
    Ok(Outcome::Flash("token-deleted"))
}

/// Changes the address, or stores it as pending until it is confirmed.
async fn change_email(
    app: &App,
    signed_in: &SignedIn,
    caller: &UserCaller,
    email: Field<Email>,
    device: Device,
    client: Option<Binding>,
) -> Result<Outcome> {
    let email = email.value.map_err(registration::pages::invalid_email)?;
    if email.is(&signed_in.user.email) {
        return Ok(Outcome::Flash("email-same"));
    }
    let mails = app.mail.sends();
    if app.config.require_verification && !mails {
        let sentence = "This server sends no mail, so a new address cannot be verified";
        return Err(invalid("email", "email-needs-mail", sentence));
    }
    let update = ProfileUpdate { email: Some(email.into()), ..ProfileUpdate::default() };
    let (_, new) = super::change(app, caller, update, device, client).await?;
    Ok(Outcome::Flash(match new {
        Some(_) => "email-waits",
        None if mails => "email-changed",
        None => "email-changed-quietly",
    }))
}

/// Ends the session of a sign-in that the user does not recognise.
async fn end_foreign(app: &App, caller: &UserCaller, id: &str, device: Device) -> Result<Outcome> {
    match self_service::session::end(app, caller, id, device).await {
        // It may have ended already, but somebody still knows the password.
        Err(error) if error.code() != Code::NotFound => Err(error),
        _ => Ok(Outcome::Flash("not-me-done")),
    }
}

async fn shown(
    page: Section,
    request: &PageRequest,
    signed_in: &SignedIn,
    status: StatusCode,
    more: Value,
) -> Response {
    match values::of(page, request, signed_in).await {
        Ok(values) => {
            let missing = context! { secret => "", typed => "" };
            request.page(status, page.place().1, context! { ..more, ..values, ..missing })
        }
        Err(error) => request.refusal(&request.text("your-account"), error),
    }
}

#[handler]
async fn export(device: Device, posted: CheckedForm<ExportForm>) -> poem::Result<Response> {
    let CheckedForm { form, request } = posted;
    let signed_in = request.signed_in()?;
    let filled = FilledForm::of(&form);
    Ok(match exported(&request.app, &signed_in, form.current, device).await {
        Ok(export) => Download(export)
            .with_header(header::CONTENT_DISPOSITION, "attachment; filename=\"account.json\"")
            .into_response(),
        Err(error) => refused(Section::Data, &request, &signed_in, &filled, error).await,
    })
}

/// A password counts for this export alone. Otherwise the browser would get another id, and the page that stays open
/// beside the download could send no form any more.
async fn exported(
    app: &App,
    signed_in: &SignedIn,
    current: Option<String>,
    device: Device,
) -> Result<Export> {
    let authentication = match current {
        Some(current) => Some(checked(app, signed_in, current, &device).await?),
        None => browser::standing_proof(app, signed_in).await?,
    };
    let caller = UserCaller::browser(signed_in, authentication, None);
    super::export(app, &caller).await
}
