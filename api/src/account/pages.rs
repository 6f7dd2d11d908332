//! The page on which people look after their account.

use minijinja::{Value, context};
use poem::http::{StatusCode, header};
use poem::web::Data;
use poem::{IntoResponse, Response, handler};
use poem_openapi::payload::Json;
use serde::Deserialize;

use super::Wanted;
use super::http::ExportResponse;
use crate::app::App;
use crate::audit::{self, Act, Actor};
use crate::error::{Code, Error, Result};
use crate::factor::Password;
use crate::http::page::{page, refusal};
use crate::http::visitor::{Posted, Visitor, see_other};
use crate::session::browser::{self, SignedIn};
use crate::session::{self, Asker, Device, Page};
use crate::token::{self, Authority, Chosen};
use crate::user::Email;

const TITLE: &str = "Your account";

/// Where who is not signed in is led.
const SIGN_IN: &str = "./login?next=/account";

/// How many things that happened are shown.
const EVENTS: usize = 20;

/// A form of the page: what it does, and with what.
#[derive(Deserialize)]
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

/// A form with a button alone.
#[derive(Deserialize)]
struct Nothing {}

/// What came of a form.
enum Done {
    /// It is done.
    Said(&'static str),
    /// An API token was made: its secret is shown this once.
    Secret(String),
    /// The account is gone.
    Gone,
}

#[handler]
pub(crate) async fn show(app: Data<&App>, visitor: Visitor) -> Response {
    match &visitor.signed_in {
        Some(signed_in) => shown(&app, &visitor, signed_in, StatusCode::OK, context! {}).await,
        None => see_other(SIGN_IN),
    }
}

#[handler]
pub(crate) async fn change(app: Data<&App>, device: Device, posted: Posted<Filled>) -> Response {
    let Posted { form, mut visitor } = posted;
    let Some(signed_in) = visitor.signed_in.clone() else { return see_other(SIGN_IN) };
    let next = Some(browser::new_id()).filter(|_| form.act == "password");
    let outcome = done(&app, &signed_in, form, next.as_deref(), device).await;
    if let Some(next) = next.filter(|_| outcome.is_ok()) {
        visitor.moves_to(&app, &next);
        visitor.csrf = app.csrf.value_of(next.as_bytes());
    }
    let (status, values) = match outcome {
        Ok(Done::Gone) => return see_other("./login"),
        Ok(Done::Said(done)) => (StatusCode::OK, context! { done }),
        Ok(Done::Secret(secret)) => (StatusCode::CREATED, context! { secret }),
        Err(error) if error.code().status().is_server_error() => return refusal(TITLE, error),
        Err(error) => {
            let status = error.code().status();
            let fault = match error.code() {
                Code::LoginBadCredentials => "The password is not right.".to_owned(),
                Code::FreshTokenRequired => "Give your password, too.".to_owned(),
                _ => error.to_string(),
            };
            (
                if status == StatusCode::UNAUTHORIZED { StatusCode::FORBIDDEN } else { status },
                context! { fault },
            )
        }
    };
    shown(&app, &visitor, &signed_in, status, values).await
}

async fn done(
    app: &App,
    signed_in: &SignedIn,
    form: Filled,
    next: Option<&str>,
    device: Device,
) -> Result<Done> {
    let Filled { act, name, surname, website, email, current, password, id, days } = form;
    let user = signed_in.user.id;
    let proven = match current {
        Some(current) => {
            let from = device.ip.as_deref();
            Some(browser::prove(app, signed_in, Password::new(current), from).await?)
        }
        None => None,
    };
    let session = signed_in.session;
    let asker = Asker::Browser { session, proven: proven.as_ref(), next };
    let authority =
        Authority::Browser { session, proven: proven.clone(), user: signed_in.user.clone() };
    match act.as_str() {
        "profile" => {
            let wanted = Wanted {
                name: Some(line("name", name, 100)?),
                surname: Some(line("surname", surname, 100)?),
                website: Some(match line("website", website, 256)? {
                    Some(website) => Some(website.parse().map_err(invalid)?),
                    None => None,
                }),
                ..Wanted::default()
            };
            super::change(app, user, asker, wanted, device).await?;
            Ok(Done::Said("Saved."))
        }
        "email" => {
            let email: Email = email.unwrap_or_default().parse().map_err(invalid)?;
            if email.as_str() == signed_in.user.email {
                return Ok(Done::Said("Your account has this address already."));
            }
            let wanted = Wanted { email: Some(email), ..Wanted::default() };
            super::change(app, user, asker, wanted, device).await?;
            Ok(Done::Said("Your account has another address. Its former one was told."))
        }
        "password" => {
            let password = Some(Password::new(password.unwrap_or_default()));
            super::change(app, user, asker, Wanted { password, ..Wanted::default() }, device)
                .await?;
            Ok(Done::Said("You have a new password, and are signed out everywhere else."))
        }
        "end-session" => {
            session::end_one(app, user, &id.unwrap_or_default(), device).await?;
            Ok(Done::Said("Signed out there."))
        }
        "end-others" => {
            session::end_others(app, user, asker, device).await?;
            Ok(Done::Said("Signed out everywhere else."))
        }
        "create-token" => {
            let days = match days.filter(|days| !days.is_empty()) {
                Some(days) => {
                    Some(days.parse::<u16>().map_err(|_| invalid("That is no number of days."))?)
                }
                None => None,
            };
            let wanted = token::Wanted {
                name: line("name", name, 64)?,
                expire: days.map(|days| u64::from(days.max(1)) * 86_400),
                ..token::Wanted::default()
            };
            let made = token::create(app, &authority, wanted).await?;
            Ok(Done::Secret(made.secret.expose().to_owned()))
        }
        "delete-token" => {
            if token::delete(app, &authority, Chosen::Id(id.unwrap_or_default())).await? == 0 {
                return Err(Code::NotFound.into());
            }
            Ok(Done::Said("The token was deleted."))
        }
        "delete" => {
            super::delete(app, asker, user, device).await?;
            Ok(Done::Gone)
        }
        _ => Err(Code::UnprocessableContent.into()),
    }
}

/// One line, or nothing.
fn line(name: &'static str, text: Option<String>, most: usize) -> Result<Option<String>> {
    let text = text.filter(|text| !text.is_empty());
    let fits = |text: &String| !text.chars().any(char::is_control) && text.chars().count() <= most;
    match text {
        Some(text) if !fits(&text) => {
            Err(invalid(&format!("The {name} is not one line of at most {most} characters.")))
        }
        text => Ok(text),
    }
}

fn invalid(reason: &str) -> Error {
    Error::with_reason(Code::UnprocessableContent, reason)
}

async fn shown(
    app: &App,
    visitor: &Visitor,
    signed_in: &SignedIn,
    status: StatusCode,
    more: Value,
) -> Response {
    match values(app, visitor, signed_in).await {
        Ok(values) => {
            let missing = context! { done => "", fault => "", secret => "" };
            page(status, "account.html", context! { ..more, ..values, ..missing })
        }
        Err(error) => refusal(TITLE, error),
    }
}

async fn values(app: &App, visitor: &Visitor, signed_in: &SignedIn) -> Result<Value> {
    // As it is after what the form changed.
    let user = crate::user::by_id(&app.database, signed_in.user.id).await?;
    let user = user.ok_or(Code::Unauthorized)?.user;
    let current = Some(signed_in.session);
    let all = Page { ended: false, after: None, limit: 100 };
    let (sessions, _) = session::list(app, user.id, current, all).await?;
    let sessions: Vec<_> = sessions
        .iter()
        .map(|session| {
            context! {
                id => session.id.to_string(),
                user_agent => &session.user_agent,
                ip => &session.ip,
                last_used => session.last_used,
                current => session.current,
            }
        })
        .collect();
    let tokens = token::all_of(app, user.id).await?;
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
        .map(
            |row| context! { at => row.at.div_euclid(1000), told => told(&row.act), ip => &row.ip },
        )
        .collect();
    let profile = context! {
        email => &user.email,
        is_verified => user.is_verified,
        name => &user.profile.name,
        surname => &user.profile.surname,
        website => user.profile.website.as_ref().map(|website| website.as_str()),
    };
    let csrf = &visitor.csrf;
    Ok(context! { title => TITLE, csrf, user => profile, sessions, tokens, events })
}

/// What happened, for people.
fn told(act: &str) -> &str {
    let acts = Act::ALL.into_iter().find(|known| known.name() == act);
    match acts {
        Some(Act::Register | Act::UserImport) => "the account was made",
        Some(Act::Login) => "signed in",
        Some(Act::LoginRefused) => "a wrong password was given",
        Some(Act::Freshen) => "the password was given again",
        Some(Act::RefreshReuse) => "an old copy of a token was used, and its session ended",
        Some(Act::Logout) => "signed out",
        Some(Act::LogoutAll) => "signed out everywhere",
        Some(Act::SessionEnd) => "signed out elsewhere",
        Some(Act::PasswordChange) => "the password was changed",
        Some(Act::PasswordResetMail) => "a mail for a new password was sent",
        Some(Act::PasswordReset) => "a new password was set by a mail",
        Some(Act::EmailChange) => "the e-mail address was changed",
        Some(Act::EmailVerify) => "the e-mail address was confirmed",
        Some(Act::EmailRestore) => "the former e-mail address was taken back",
        Some(Act::TokenCreate) => "an API token was made",
        Some(Act::TokenDelete) => "an API token was deleted",
        Some(Act::UserExport) => "the data was exported",
        Some(Act::FlagsChange | Act::ScopesChange) => "what the account may do was changed",
        Some(Act::Revoke | Act::AdminRevoke) => "tokens were revoked",
        _ => act,
    }
}

#[handler]
pub(crate) async fn export(app: Data<&App>, posted: Posted<Nothing>) -> Response {
    let Posted { form: Nothing {}, visitor } = posted;
    let Some(signed_in) = &visitor.signed_in else { return see_other("../login?next=/account") };
    let by = Actor::user(signed_in.user.id);
    let current = Some(signed_in.session);
    match super::export(&app, &signed_in.user, current, by).await {
        Ok(export) => Json(ExportResponse::from(export))
            .with_header(header::CONTENT_DISPOSITION, "attachment; filename=\"account.json\"")
            .into_response(),
        Err(error) => refusal(TITLE, error),
    }
}
