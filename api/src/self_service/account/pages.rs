//! The page on which people look after their account.

use std::collections::{HashMap, HashSet};

use entity::SessionId;
use minijinja::{Value, context};
use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response, handler};
use serde::Deserialize;
use uuid::Uuid;

use super::download::Download;
use super::{Export, ProfileUpdate};
use crate::access;
use crate::access::caller::UserCaller;
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::access::session::browser::{self, SignedIn};
use crate::access::session::pages::device_name;
use crate::access::session::{self, Device};
use crate::app::App;
use crate::base::error::page::{Head, field_of};
use crate::base::error::{Code, Error, LocalizedMessage, Result};
use crate::base::listing::Page;
use crate::base::random;
use crate::http::body::{SECONDS, is_line};
use crate::http::page::Frame;
use crate::http::paths::PageRoute;
use crate::identity::factor::Password;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::user::{Email, former, pending};
use crate::identity::verification::Binding;
use crate::identity::verification::client::CodeClient;
use crate::platform::audit::{self, Act};
use crate::self_service;
use crate::self_service::api_token::{self, NewApiToken, Selection};
use crate::self_service::registration::pages::{invalid, strength};

/// How many things that happened are shown.
const EVENTS: usize = 20;

/// How many previous addresses are shown.
const PREVIOUS: u64 = 20;

/// A form of the page: what it does, and with what.
#[derive(Deserialize, Clone)]
struct Filled {
    act: String,
    name: Option<String>,
    surname: Option<String>,
    website: Option<String>,
    email: Option<String>,
    current: Option<String>,
    password: Option<String>,
    id: Option<String>,
    days: Option<String>,
}

/// A form with a password alone.
#[derive(Deserialize)]
struct Given {
    current: Option<String>,
}

/// What came of a form.
enum Done {
    /// It is done: what its text is known by.
    Said(&'static str),
    /// An API token was made: its secret is shown this once.
    Secret(String),
    /// The account is gone.
    Gone,
}

/// The pages.
pub(crate) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::form("/account", show, change),
        PageRoute::get("/.well-known/change-password", lead_to_password),
        PageRoute::post("/account/export", export),
    ]
}

#[handler]
async fn show(request: PageRequest) -> poem::Result<Response> {
    let signed_in = request.signed_in()?;
    Ok(shown(&request, &signed_in, StatusCode::OK, context! {}).await)
}

/// Where password managers look for the page on which a password is changed.
#[handler]
fn lead_to_password(frame: Frame) -> Response {
    frame.redirect("account#password-title")
}

#[handler]
async fn change(
    device: Device,
    client: CodeClient,
    posted: CheckedForm<Filled>,
) -> poem::Result<Response> {
    let CheckedForm { form, mut request } = posted;
    let signed_in = request.signed_in()?;
    let next = Some(browser::new_id()).filter(|_| form.act == "password");
    // Whoever changes no address is sent no code.
    let client = if form.act == "email" { client.keep() } else { None };
    let by = By { device, client, next: next.as_deref() };
    let outcome = done(&request.app, &signed_in, form.clone(), by).await;
    if let Some(next) = next.filter(|_| outcome.is_ok()) {
        request.change_id(&next);
    }
    let section = section_of(&form.act);
    let (status, values) = match outcome {
        Ok(Done::Said(name)) => return Ok(request.redirect_with_flash("account", section, name)),
        Ok(Done::Gone) => {
            request.signed_in = None;
            request.change_id(&browser::new_id());
            let (title, text) =
                (request.text("account-deleted-title"), request.text("account-deleted"));
            return Ok(request.said(StatusCode::OK, &title, &text, "login"));
        }
        Ok(Done::Secret(secret)) => (StatusCode::CREATED, context! { secret, section }),
        Err(error) => {
            // What was typed stays, but for passwords.
            let Filled { act, name, surname, website, email, days, .. } = form;
            let typed = context! { name, surname, website, email, days };
            return Ok(refused(&request, &signed_in, &act, error, typed).await);
        }
    };
    Ok(shown(&request, &signed_in, status, values).await)
}

/// The page with what is wrong with a form of it, and with what was typed.
async fn refused(
    request: &PageRequest,
    signed_in: &SignedIn,
    act: &str,
    error: Error,
    typed: Value,
) -> Response {
    if error.code() == Code::InternalServerError {
        return request.refusal(&request.text("your-account"), error);
    }
    let fault = message(request, &error);
    let field = Some(field_of(&error)).filter(|field| fields_of(act).contains(field));
    let (field, section) = (field.unwrap_or_default(), section_of(act));
    let values = context! { fault, faulty => act, field, section, typed };
    let head = Head::of(&error);
    head.onto(shown(request, signed_in, head.status(), values).await)
}

/// Why something was refused, to somebody who is signed in: of credentials, only the password may be wrong.
pub(crate) fn message(request: &PageRequest, error: &Error) -> String {
    match error.code() {
        Code::LoginBadCredentials => request.text("password-wrong"),
        Code::FreshTokenRequired => request.text("password-missing"),
        _ => request.message(error),
    }
}

/// The fields of a form, beside which it is said what is wrong with them.
fn fields_of(act: &str) -> &'static [&'static str] {
    match act {
        "profile" => &["name", "surname", "website"],
        "email" => &["email", "current"],
        "cancel-links" => &["current"],
        "password" => &["current", "password"],
        "create-token" => &["name", "days", "current"],
        "delete" | "export" => &["current"],
        _ => &[],
    }
}

/// The part of the page where it is said what came of a form.
fn section_of(act: &str) -> &'static str {
    match act {
        "profile" => "profile",
        "email" | "cancel-email" | "cancel-links" => "email",
        "password" | "not-me" => "password",
        "end-session" | "end-others" => "sessions",
        "create-token" | "delete-token" => "tokens",
        "delete" | "export" => "leave",
        _ => "",
    }
}

/// The browser that sends a form.
struct By<'a> {
    device: Device,
    client: Option<Binding>,
    /// The id it has after a new password.
    next: Option<&'a str>,
}

async fn done(app: &App, signed_in: &SignedIn, form: Filled, by: By<'_>) -> Result<Done> {
    let By { device, client, next } = by;
    let Filled { act, name, surname, website, email, current, password, id, days } = form;
    let authentication = match current {
        Some(current) => {
            let from = device.ip.as_deref();
            let account = Account::User(signed_in.user.id);
            Some(password_check::prove(app, account, Password::new(current), from).await?)
        }
        None => None,
    };
    let caller = UserCaller::browser(signed_in, authentication, next.map(ToOwned::to_owned));
    match act.as_str() {
        "profile" => {
            let update = ProfileUpdate {
                name: Some(line("name", name, 100)?),
                surname: Some(line("surname", surname, 100)?),
                website: Some(match line("website", website, 256)? {
                    Some(website) => {
                        let invalid = |fault| invalid("website", "website-wrong", fault);
                        Some(website.parse().map_err(invalid)?)
                    }
                    None => None,
                }),
                ..ProfileUpdate::default()
            };
            super::change(app, &caller, update, device, client).await?;
            Ok(Done::Said("saved"))
        }
        "email" => {
            let invalid = |fault| invalid("email", "email-wrong", fault);
            let email: Email = email.unwrap_or_default().parse().map_err(invalid)?;
            if email.as_str().eq_ignore_ascii_case(&signed_in.user.email) {
                return Ok(Done::Said("email-same"));
            }
            let update = ProfileUpdate { email: Some(email), ..ProfileUpdate::default() };
            let mails = app.mailer.sends();
            if app.config.require_verification && !mails {
                let sentence = "No mail is sent, so that a new address cannot be proved";
                return Err(self::invalid("email", "email-needs-mail", sentence));
            }
            let (_, new) = super::change(app, &caller, update, device, client).await?;
            Ok(Done::Said(match new {
                Some(_) => "email-waits",
                None if mails => "email-changed",
                None => "email-changed-quietly",
            }))
        }
        "cancel-email" => {
            super::cancel(app, &caller).await?;
            Ok(Done::Said("email-cancelled"))
        }
        "cancel-links" => {
            super::cancel_links(app, &caller, None).await?;
            Ok(Done::Said("link-cancelled"))
        }
        "password" => {
            let password = Some(Password::new(password.unwrap_or_default()));
            let update = ProfileUpdate { password, ..ProfileUpdate::default() };
            super::change(app, &caller, update, device, client).await?;
            Ok(Done::Said("password-changed"))
        }
        "end-session" => {
            self_service::session::end(app, &caller, &id.unwrap_or_default(), device).await?;
            Ok(Done::Said("signed-out-there"))
        }
        "not-me" => {
            match self_service::session::end(app, &caller, &id.unwrap_or_default(), device).await {
                // It may have ended since: whoever it was knows the password all the same.
                Err(error) if error.code() != Code::NotFound => Err(error),
                _ => Ok(Done::Said("not-me-done")),
            }
        }
        "end-others" => {
            self_service::session::end_others(app, &caller, device).await?;
            Ok(Done::Said("signed-out-others"))
        }
        "create-token" => {
            let new = NewApiToken {
                id: once(id)?,
                name: line("name", name, 64)?,
                expire: seconds_of(days)?,
                ..NewApiToken::default()
            };
            let made = api_token::create(app, caller.caller(), new).await?;
            Ok(Done::Secret(made.secret.expose().to_owned()))
        }
        "delete-token" => {
            let selection = Selection::Own(id.unwrap_or_default());
            if api_token::delete(app, caller.caller(), selection).await? == 0 {
                return Err(Code::NotFound.into());
            }
            Ok(Done::Said("token-deleted"))
        }
        "delete" => {
            super::delete(app, &caller, device).await?;
            Ok(Done::Gone)
        }
        _ => Err(Code::UnprocessableContent.into()),
    }
}

/// One line of a field, or nothing.
pub(crate) fn line(
    field: &'static str,
    text: Option<String>,
    most: usize,
) -> Result<Option<String>> {
    let text = text.filter(|text| !text.is_empty());
    let fits = |text: &String| is_line(text, most);
    if text.as_ref().is_none_or(fits) {
        return Ok(text);
    }
    let sentence = format!("Input should be one line of at most {most} characters");
    let message = LocalizedMessage::with_number("line-too-long", sentence, most).about(field);
    Err(Error::with_messages(Code::UnprocessableContent, vec![message]))
}

/// The id that a form for an API token brought along, so that one that is sent twice makes one token.
pub(crate) fn once(id: Option<String>) -> Result<Option<Uuid>> {
    let parsed = id.map(|id| id.parse()).transpose();
    parsed.map_err(|_| Code::UnprocessableContent.into())
}

/// As many seconds as a number of days has, or nothing.
pub(crate) fn seconds_of(days: Option<String>) -> Result<Option<u64>> {
    let Some(days) = days.filter(|days| !days.is_empty()) else { return Ok(None) };
    let seconds = days.parse::<u32>().ok().map(|days| u64::from(days) * 86_400);
    let seconds = seconds.filter(|seconds| SECONDS.contains(seconds));
    let wrong = || invalid("days", "days-wrong", "That is no number of days from 1 to 3650");
    seconds.map(Some).ok_or_else(wrong)
}

async fn shown(
    request: &PageRequest,
    signed_in: &SignedIn,
    status: StatusCode,
    more: Value,
) -> Response {
    match values(request, signed_in).await {
        Ok(values) => {
            let typed =
                context! { name => "", surname => "", website => "", email => "", days => "" };
            let missing = context! { secret => "", typed };
            request.page(status, "account.html", context! { ..more, ..values, ..missing })
        }
        Err(error) => request.refusal(&request.text("your-account"), error),
    }
}

async fn values(request: &PageRequest, signed_in: &SignedIn) -> Result<Value> {
    let app = &request.app;
    // As it is after what the form changed.
    let user = crate::identity::user::by_id(&app.database, signed_in.user.id).await?;
    let user = user.ok_or(Code::Unauthorized)?.user;
    let current = Some(signed_in.session);
    let all = session::Filter { ended: false, after: None, limit: 100 };
    let Page { items: live, more: more_sessions } =
        session::list(app, user.id, current, all.clone()).await?;
    let ended = session::Filter { ended: true, ..all };
    let ended = session::list(app, user.id, current, ended).await?.items;
    let devices: HashMap<_, _> = live
        .iter()
        .chain(&ended)
        .filter_map(|session| Some((session.id, device_name(session.user_agent.as_deref()?)?)))
        .collect();
    let sessions = live;
    let others: HashSet<_> =
        sessions.iter().filter(|session| !session.current).map(|session| session.id).collect();
    let sessions: Vec<_> = sessions
        .iter()
        .map(|session| {
            context! {
                id => session.id.to_string(),
                device => session.user_agent.as_deref().and_then(device_name),
                user_agent => session.user_agent.as_deref().unwrap_or_default(),
                place => &session.ip,
                last_used => session.last_used,
                current => session.current,
            }
        })
        .collect();
    let tokens = access::api_token::live_of(app, user.id).await?;
    let tokens: Vec<_> = tokens
        .iter()
        .map(|token| {
            context! {
                id => token.id.to_string(),
                name => &token.name,
                prefix => &token.prefix,
                created => token.created,
                expires => token.expires,
                last_used => token.last_used,
            }
        })
        .collect();
    let events = audit::latest_of(app, user.id, EVENTS).await?;
    let events: Vec<_> = events
        .iter()
        .map(|row| {
            // The session that a sign-in began: with its device, and to be ended where it lives and is not the
            // one that looks.
            let session = || audit::detail(row, "session")?.parse::<SessionId>().ok();
            let began =
                Some(&row.act).filter(|act| *act == Act::Login.name()).and_then(|_| session());
            context! {
                at => row.at.div_euclid(1000),
                act => &row.act,
                place => &row.ip,
                device => began.and_then(|began| devices.get(&began)),
                session => began.filter(|began| others.contains(began)).map(|id| id.to_string()),
            }
        })
        .collect();
    let reader = app.database.reader();
    let (previous, _) = former::some_of(reader, user.id, None, PREVIOUS).await?;
    let profile = context! {
        email => &user.email,
        pending => pending::of(reader, user.id).await?,
        previous,
        is_verified => user.is_verified,
        name => &user.profile.name,
        surname => &user.profile.surname,
        website => user.profile.website.as_ref().map(|website| website.as_str()),
    };
    let mails = app.mailer.sends();
    let strength = strength(request);
    let once = random::id().to_string();
    Ok(context! { user => profile, sessions, more_sessions, tokens, events, mails, strength, once })
}

#[handler]
async fn export(device: Device, posted: CheckedForm<Given>) -> poem::Result<Response> {
    let CheckedForm { form: Given { current }, request } = posted;
    let signed_in = request.signed_in()?;
    Ok(match exported(&request.app, &signed_in, current, device).await {
        Ok(export) => Download(export)
            .with_header(header::CONTENT_DISPOSITION, "attachment; filename=\"account.json\"")
            .into_response(),
        Err(error) => refused(&request, &signed_in, "export", error, context! {}).await,
    })
}

async fn exported(
    app: &App,
    signed_in: &SignedIn,
    current: Option<String>,
    device: Device,
) -> Result<Export> {
    let from = device.ip.as_deref();
    let authentication = match current {
        Some(current) => {
            let account = Account::User(signed_in.user.id);
            Some(password_check::prove(app, account, Password::new(current), from).await?)
        }
        None => None,
    };
    let caller = UserCaller::browser(signed_in, authentication, None);
    super::export(app, &caller).await
}
