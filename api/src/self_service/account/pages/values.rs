//! The values of the account pages.

use std::collections::{HashMap, HashSet};

use entity::SessionId;
use minijinja::{Value, context};

use super::Section;
use crate::access;
use crate::access::api_token::ApiToken;
use crate::access::caller::page::PageRequest;
use crate::access::session::browser::SignedIn;
use crate::access::session::pages::device_name;
use crate::access::session::{self, Session};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::base::listing::Page;
use crate::base::random;
use crate::identity::user::{self, Language, User, pending, previous_email};
use crate::platform::audit::{self, Act};
use crate::self_service::account::ways;
use crate::self_service::registration::pages::strength;

/// The number of events that are shown.
const EVENTS: usize = 20;

/// The number of previous addresses that are shown.
const PREVIOUS: u64 = 20;

/// The values of a page, as they are after the change that its form made.
pub(super) async fn of(
    section: Section,
    request: &PageRequest,
    signed_in: &SignedIn,
) -> Result<Value> {
    let app = &request.app;
    match section {
        Section::Profile => Ok(profile(request, &current(app, signed_in).await?)),
        Section::Email => email(app, signed_in).await,
        Section::Password => {
            let ways = ways::values(app, signed_in).await?;
            Ok(context! { strength => strength(request), ..ways })
        }
        Section::Sessions => sessions(app, signed_in).await,
        Section::Events => events(app, signed_in).await,
        Section::Tokens => tokens(app, signed_in).await,
        Section::Data => ways::values(app, signed_in).await,
    }
}

/// The user as the table has them.
async fn current(app: &App, signed_in: &SignedIn) -> Result<User> {
    let user = user::by_id(&app.database, signed_in.user.id).await?;
    Ok(user.ok_or(Code::Unauthorized)?.user)
}

fn profile(request: &PageRequest, user: &User) -> Value {
    let language = user.profile.language.as_ref().map(Language::as_str);
    let user = context! {
        email => &user.email,
        is_verified => user.is_verified,
        name => &user.profile.name,
        surname => &user.profile.surname,
        website => user.profile.website.as_ref().map(|website| website.as_str()),
        language,
        languages => request.languages(language),
    };
    context! { user }
}

async fn email(app: &App, signed_in: &SignedIn) -> Result<Value> {
    let user = current(app, signed_in).await?;
    let reader = app.database.reader();
    let (previous, _) = previous_email::some_of(reader, user.id, None, PREVIOUS).await?;
    let user = context! {
        email => &user.email,
        is_verified => user.is_verified,
        pending => pending::of(reader, user.id).await?,
        previous,
    };
    Ok(context! { user, mails => app.mail.sends(), ..ways::values(app, signed_in).await? })
}

/// The user's sessions: those that live, or those that have ended.
async fn listed(app: &App, signed_in: &SignedIn, ended: bool) -> Result<Page<Session>> {
    let filter = session::Filter { ended, after: None, limit: 100 };
    session::list(app, signed_in.user.id, Some(signed_in.session), filter).await
}

async fn sessions(app: &App, signed_in: &SignedIn) -> Result<Value> {
    let Page { items, more: more_sessions } = listed(app, signed_in, false).await?;
    let sessions: Vec<_> = items.iter().map(session_values).collect();
    Ok(context! { sessions, more_sessions })
}

async fn events(app: &App, signed_in: &SignedIn) -> Result<Value> {
    let live = listed(app, signed_in, false).await?.items;
    let ended = listed(app, signed_in, true).await?.items;
    let events = audit::latest_of(app, signed_in.user.id, EVENTS).await?;
    Ok(context! { events => event_values(&events, &live, &ended) })
}

async fn tokens(app: &App, signed_in: &SignedIn) -> Result<Value> {
    let tokens = access::api_token::live_of(app, signed_in.user.id).await?;
    let tokens: Vec<_> = tokens.iter().map(token_values).collect();
    let once = random::id().to_string();
    Ok(context! { tokens, once, ..ways::values(app, signed_in).await? })
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
