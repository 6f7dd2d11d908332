//! The account page.

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use entity::SessionId;
use minijinja::{Value, context};
use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response, handler};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::download::Download;
use super::{Export, ProfileUpdate};
use crate::access;
use crate::access::api_token::ApiToken;
use crate::access::caller::UserCaller;
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::access::session::browser::{self, SignedIn};
use crate::access::session::pages::device_name;
use crate::access::session::{self, Device, Session};
use crate::app::App;
use crate::base::error::page::Head;
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::base::listing::Page;
use crate::base::random;
use crate::http::body::{SECONDS, is_line};
use crate::http::form::{Field, FilledForm, PageForm, Placement, placed};
use crate::http::page::Frame;
use crate::http::paths::PageRoute;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::factor::{Authentication, Password};
use crate::identity::user::{Email, pending, previous_email};
use crate::identity::verification::Binding;
use crate::identity::verification::client::CodeClient;
use crate::platform::audit::{self, Act};
use crate::self_service;
use crate::self_service::api_token::{self, NewApiToken, Selection};
use crate::self_service::registration::pages::{invalid, strength};

/// The number of seconds in a day.
const DAY: u64 = 86_400;

/// The number of events that are shown.
const EVENTS: usize = 20;

/// The number of previous addresses that are shown.
const PREVIOUS: u64 = 20;

/// A form of the page, with the account's current password if the form asks for it.
#[derive(Deserialize)]
struct Posted {
    current: Option<String>,
    #[serde(flatten)]
    form: AccountForm,
}

/// A form of the page.
#[derive(Deserialize, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
enum AccountForm {
    Profile(ProfileForm),
    Email {
        #[serde(default)]
        email: Field<Email>,
    },
    CancelEmail,
    CancelLinks,
    Password {
        #[serde(default, skip_serializing)]
        password: String,
    },
    EndSession {
        #[serde(default)]
        id: String,
    },
    NotMe {
        /// The session of the sign-in that the user does not recognise.
        #[serde(default)]
        id: String,
    },
    EndOthers,
    CreateToken(TokenForm),
    DeleteToken {
        #[serde(default)]
        id: String,
    },
    Delete,
    #[serde(other)]
    Unknown,
}

/// The form of names and website.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct ProfileForm {
    name: String,
    surname: String,
    website: String,
}

/// The form that makes an API token.
#[derive(Deserialize, Serialize)]
struct TokenForm {
    /// The token's id, so that a form that is sent twice makes one token.
    id: Option<Field<Uuid>>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    days: Field<Days>,
}

/// The form that exports the account.
#[derive(Deserialize, Serialize)]
struct ExportForm {
    #[serde(skip_serializing)]
    current: Option<String>,
}

impl PageForm for AccountForm {
    fn placement(&self) -> Placement {
        match self {
            AccountForm::Profile(_) => {
                placed("profile", "profile", &["name", "surname", "website"])
            }
            AccountForm::Email { .. } => placed("email", "email", &["email", "current"]),
            AccountForm::CancelEmail => placed("cancel-email", "email", &[]),
            AccountForm::CancelLinks => placed("cancel-links", "email", &["current"]),
            AccountForm::Password { .. } => {
                placed("password", "password", &["current", "password"])
            }
            AccountForm::EndSession { .. } => placed("end-session", "sessions", &[]),
            AccountForm::NotMe { .. } => placed("not-me", "password", &[]),
            AccountForm::EndOthers => placed("end-others", "sessions", &[]),
            AccountForm::CreateToken(_) => {
                placed("create-token", "tokens", &["name", "days", "current"])
            }
            AccountForm::DeleteToken { .. } => placed("delete-token", "tokens", &[]),
            AccountForm::Delete => placed("delete", "leave", &["current"]),
            AccountForm::Unknown => Placement::default(),
        }
    }
}

impl PageForm for ExportForm {
    fn placement(&self) -> Placement {
        placed("export", "leave", &["current"])
    }
}

impl ProfileForm {
    fn update(self) -> Result<ProfileUpdate> {
        let name = line("name", self.name, 100)?;
        let surname = line("surname", self.surname, 100)?;
        let website = line("website", self.website, 256)?.map(|website| website.parse());
        let website = website.transpose();
        let website = website.map_err(|fault| invalid("website", "website-wrong", fault))?;
        Ok(ProfileUpdate {
            name: name.into(),
            surname: surname.into(),
            website: website.into(),
            ..ProfileUpdate::default()
        })
    }
}

impl TokenForm {
    fn new_token(self) -> Result<NewApiToken> {
        Ok(NewApiToken {
            id: once(self.id)?,
            name: line("name", self.name, 64)?,
            expire: self.days.value?.seconds(),
            ..NewApiToken::default()
        })
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
        PageRoute::get("/.well-known/change-password", redirect_to_password),
        PageRoute::post("/account/export", export),
    ]
}

#[handler]
async fn show(request: PageRequest) -> poem::Result<Response> {
    let signed_in = request.signed_in()?;
    Ok(shown(&request, &signed_in, StatusCode::OK, context! {}).await)
}

/// Redirects password managers to the page for changing the password.
#[handler]
fn redirect_to_password(frame: Frame) -> Response {
    frame.redirect("account#password-title")
}

#[handler]
async fn change(
    device: Device,
    client: CodeClient,
    posted: CheckedForm<Posted>,
) -> poem::Result<Response> {
    let CheckedForm { form: Posted { current, form }, mut request } = posted;
    let signed_in = request.signed_in()?;
    let filled = FilledForm::of(&form);
    let next = matches!(form, AccountForm::Password { .. }).then(browser::new_id);
    // Without a new address there is no mail and so no code.
    let client = if matches!(form, AccountForm::Email { .. }) { client.keep() } else { None };
    let sender = Sender { device, client, next: next.as_deref() };
    let outcome = changed(&request.app, &signed_in, current, form, sender).await;
    if let Some(next) = next.filter(|_| outcome.is_ok()) {
        request.change_id(&next);
    }
    let section = filled.placement.section;
    let (status, values) = match outcome {
        Ok(Outcome::Flash(name)) => {
            return Ok(request.redirect_with_flash("account", section, name));
        }
        Ok(Outcome::Deleted) => {
            request.signed_in = None;
            request.change_id(&browser::new_id());
            let (title, text) =
                (request.text("account-deleted-title"), request.text("account-deleted"));
            return Ok(request.said(StatusCode::OK, &title, &text, "login"));
        }
        Ok(Outcome::Secret(secret)) => (StatusCode::CREATED, context! { secret, section }),
        Err(error) => return Ok(refused(&request, &signed_in, &filled, error).await),
    };
    Ok(shown(&request, &signed_in, status, values).await)
}

/// Shows the page again with the error and the input of a form.
async fn refused(
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
    head.onto(shown(request, signed_in, head.status(), values).await)
}

/// The message of an error for a signed-in user. If credentials are wrong, it must be the password.
pub(crate) fn message(request: &PageRequest, error: &Error) -> String {
    match error.code() {
        Code::LoginBadCredentials => request.text("password-wrong"),
        Code::FreshTokenRequired => request.text("password-missing"),
        _ => request.message(error),
    }
}

/// The browser that sent a form.
struct Sender<'a> {
    device: Device,
    client: Option<Binding>,
    /// The id that the browser gets after a new password.
    next: Option<&'a str>,
}

async fn changed(
    app: &App,
    signed_in: &SignedIn,
    current: Option<String>,
    form: AccountForm,
    sender: Sender<'_>,
) -> Result<Outcome> {
    let Sender { device, client, next } = sender;
    let authentication = proved(app, signed_in, current, &device).await?;
    let caller = UserCaller::browser(signed_in, authentication, next.map(ToOwned::to_owned));
    act(app, signed_in, &caller, form, device, client).await
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
            let update = ProfileUpdate {
                password: Some(Password::new(password)),
                ..ProfileUpdate::default()
            };
            super::change(app, caller, update, device, client).await?;
            Ok(Outcome::Flash("password-changed"))
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
        AccountForm::Delete => {
            super::delete(app, caller, device).await?;
            Ok(Outcome::Deleted)
        }
        AccountForm::Unknown => Err(Code::UnprocessableContent.into()),
    }
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

/// Checks the password in a form, if there is one.
async fn proved(
    app: &App,
    signed_in: &SignedIn,
    current: Option<String>,
    device: &Device,
) -> Result<Option<Authentication>> {
    let Some(current) = current else { return Ok(None) };
    let account = Account::User(signed_in.user.id);
    let ip = device.ip;
    password_check::prove(app, account, Password::new(current), ip).await.map(Some)
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
    let email = email.value.map_err(|fault| invalid("email", "email-wrong", fault))?;
    if email.is(&signed_in.user.email) {
        return Ok(Outcome::Flash("email-same"));
    }
    let mails = app.mail.sends();
    if app.config.require_verification && !mails {
        let sentence = "This server sends no mail, so a new address cannot be verified";
        return Err(invalid("email", "email-needs-mail", sentence));
    }
    let update = ProfileUpdate { email: Some(email), ..ProfileUpdate::default() };
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

/// Reads a field of one line, which may be empty.
pub(crate) fn line(field: &'static str, text: String, max: usize) -> Result<Option<String>> {
    if text.is_empty() {
        return Ok(None);
    }
    if is_line(&text, max) {
        return Ok(Some(text));
    }
    let sentence = format!("Input should be one line of at most {max} characters");
    let message = LocalizedMessage::with_number("line-too-long", sentence, max).about(field);
    Err(Error::with_messages(Code::UnprocessableContent, vec![message]))
}

/// Reads the id in a form for an API token, so that a form that is sent twice makes one token.
pub(crate) fn once(id: Option<Field<Uuid>>) -> Result<Option<Uuid>> {
    id.map(|id| id.value).transpose().map_err(|_| Code::UnprocessableContent.into())
}

/// A number of days, or none.
pub(crate) struct Days(Option<u64>);

impl Days {
    /// The number of seconds in the days.
    pub(crate) fn seconds(&self) -> Option<u64> {
        self.0.map(|days| days * DAY)
    }
}

impl FromStr for Days {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let days = text.parse::<u32>().ok().map(u64::from);
        let days = days.filter(|days| SECONDS.contains(&(days * DAY)));
        let wrong =
            || invalid("days", "days-wrong", "Input should be a number of days from 1 to 3650");
        days.map(|days| Self(Some(days))).ok_or_else(wrong)
    }
}

async fn shown(
    request: &PageRequest,
    signed_in: &SignedIn,
    status: StatusCode,
    more: Value,
) -> Response {
    match values(request, signed_in).await {
        Ok(values) => {
            let missing = context! { secret => "", typed => "" };
            request.page(status, "account.html", context! { ..more, ..values, ..missing })
        }
        Err(error) => request.refusal(&request.text("your-account"), error),
    }
}

async fn values(request: &PageRequest, signed_in: &SignedIn) -> Result<Value> {
    let app = &request.app;
    // The user as they are after the change that the form made.
    let user = crate::identity::user::by_id(&app.database, signed_in.user.id).await?;
    let user = user.ok_or(Code::Unauthorized)?.user;
    let current = Some(signed_in.session);
    let all = session::Filter { ended: false, after: None, limit: 100 };
    let Page { items: live, more: more_sessions } =
        session::list(app, user.id, current, all.clone()).await?;
    let ended = session::Filter { ended: true, ..all };
    let ended = session::list(app, user.id, current, ended).await?.items;
    let tokens = access::api_token::live_of(app, user.id).await?;
    let events = audit::latest_of(app, user.id, EVENTS).await?;
    let reader = app.database.reader();
    let (previous, _) = previous_email::some_of(reader, user.id, None, PREVIOUS).await?;
    let profile = context! {
        email => &user.email,
        pending => pending::of(reader, user.id).await?,
        previous,
        is_verified => user.is_verified,
        name => &user.profile.name,
        surname => &user.profile.surname,
        website => user.profile.website.as_ref().map(|website| website.as_str()),
    };
    Ok(context! {
        user => profile,
        sessions => live.iter().map(session_values).collect::<Vec<_>>(),
        more_sessions,
        tokens => tokens.iter().map(token_values).collect::<Vec<_>>(),
        events => event_values(&events, &live, &ended),
        mails => app.mail.sends(),
        strength => strength(request),
        once => random::id().to_string(),
    })
}

fn session_values(session: &Session) -> Value {
    context! {
        id => session.id.to_string(),
        device => session.user_agent.as_deref().and_then(device_name),
        user_agent => session.user_agent.as_deref().unwrap_or_default(),
        place => &session.ip,
        last_used => session.last_used,
        current => session.current,
    }
}

fn token_values(token: &ApiToken) -> Value {
    context! {
        id => token.id.to_string(),
        name => &token.name,
        prefix => &token.prefix,
        created => token.created,
        expires => token.expires,
        last_used => token.last_used,
    }
}

/// The values for the events. A sign-in has the device of its session. It also has the session's id if that can be
/// ended here: if the session lives and is not the current one.
fn event_values(events: &[audit::Row], live: &[Session], ended: &[Session]) -> Vec<Value> {
    let devices: HashMap<_, _> = live
        .iter()
        .chain(ended)
        .filter_map(|session| Some((session.id, device_name(session.user_agent.as_deref()?)?)))
        .collect();
    let others: HashSet<_> =
        live.iter().filter(|session| !session.current).map(|session| session.id).collect();
    let values = events.iter().map(|row| {
        let session = || audit::detail(row, "session")?.parse::<SessionId>().ok();
        let began = Some(&row.act).filter(|act| *act == Act::Login.name()).and_then(|_| session());
        context! {
            at => row.at.div_euclid(1000),
            act => &row.act,
            place => &row.ip,
            device => began.and_then(|began| devices.get(&began)),
            session => began.filter(|began| others.contains(began)).map(|id| id.to_string()),
        }
    });
    values.collect()
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
        Err(error) => refused(&request, &signed_in, &filled, error).await,
    })
}

async fn exported(
    app: &App,
    signed_in: &SignedIn,
    current: Option<String>,
    device: Device,
) -> Result<Export> {
    let authentication = proved(app, signed_in, current, &device).await?;
    let caller = UserCaller::browser(signed_in, authentication, None);
    super::export(app, &caller).await
}
