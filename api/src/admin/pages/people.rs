//! Users, and where they are signed in.

use minijinja::{Value, context};
use poem::web::Path;
use poem::{Response, handler};
use serde::Deserialize;

use super::{Act, BY_BUTTON, Done, Filled, From, ROWS, after, next, page, why};
use crate::access;
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::access::session::pages::device_name;
use crate::access::session::{self, Session};
use crate::admin;
use crate::admin::revocation::Target;
use crate::admin::user::Regrant;
use crate::base::error::{Code, Error, Result};
use crate::base::listing::Page;
use crate::base::scope::{MAX_SCOPES, Scope, Scopes};
use crate::http::browser_request::PageQuery;
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::user::{Changes, Filter, User};
use crate::identity::verification::Purpose;
use crate::platform::audit::{self, Actor};
use crate::self_service::api_token::{self, Selection};
use crate::self_service::recovery;
use crate::self_service::registration::pages::invalid;

/// Which users are looked for.
#[derive(Debug, Deserialize)]
struct Sought {
    q: Option<String>,
    state: Option<String>,
    after: Option<String>,
}

/// The pages.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::get("/admin/users", show_users),
        PageRoute::form("/admin/users/{id}", show_user, change_user),
        PageRoute::form("/admin/signed-in", show_sessions, change_session),
    ]
}

#[handler]
async fn show_users(
    request: PageRequest,
    PageQuery(sought): PageQuery<Sought>,
) -> poem::Result<Response> {
    page(&request, "admin/users.html", users_values(&request, sought)).await
}

async fn users_values(request: &PageRequest, sought: Sought) -> Result<Value> {
    let Sought { q, state, after } = sought;
    let state = state.unwrap_or_default();
    let filter = Filter {
        contains: q.clone(),
        is_active: (state == "inactive").then_some(false),
        is_superuser: (state == "superuser").then_some(true),
        is_verified: (state == "not-verified").then_some(false),
    };
    let users = admin::user::list(&request.app, filter, after.as_deref(), ROWS).await?;
    let last = users.next(|last| last.email.clone());
    let next = next(last, &[("q", q.as_deref()), ("state", Some(&state))]);
    let users: Vec<_> = users.items.iter().map(seen).collect();
    Ok(context! { users, q => q.unwrap_or_default(), state, next })
}

fn seen(user: &User) -> Value {
    let full_name = [&user.profile.name, &user.profile.surname];
    let full_name: Vec<_> = full_name.into_iter().flatten().map(String::as_str).collect();
    context! {
        id => user.id.to_string(),
        email => &user.email,
        full_name => full_name.join(" "),
        website => user.profile.website.as_ref().map(|website| website.as_str()),
        is_active => user.is_active,
        is_superuser => user.is_superuser,
        is_verified => user.is_verified,
        scopes => user.granted.to_string(),
    }
}

#[handler]
async fn show_user(request: PageRequest, Path(id): Path<String>) -> poem::Result<Response> {
    page(&request, "admin/user.html", user_values(&request, &id)).await
}

async fn user_values(request: &PageRequest, id: &str) -> Result<Value> {
    let app = &request.app;
    let user = admin::user::read(app, id).await?;
    let all = session::Filter { ended: false, after: None, limit: 100 };
    let current = request.signed_in.as_ref().map(|signed_in| signed_in.session);
    let Page { items: sessions, more: more_sessions } =
        session::list(app, user.id, current, all).await?;
    let tokens = access::api_token::live_of(app, user.id).await?;
    let tokens: Vec<_> = tokens.iter().map(|token| super::tokens::seen(token, None)).collect();
    let subject = Some(format!("user:{}", user.id));
    let filter = audit::Filter { subject, limit: 20, ..audit::Filter::default() };
    let events = audit::list(app, filter).await?.items;
    Ok(context! {
        user => seen(&user),
        sessions => sessions.iter().map(|session| seen_session(session, None)).collect::<Vec<_>>(),
        more_sessions,
        tokens,
        events => super::records::seen(app, events).await?,
        mails => app.mailer.sends(),
    })
}

fn seen_session(session: &Session, user: Option<(String, &str)>) -> Value {
    let owner = user.map(|(id, email)| context! { id, email });
    context! {
        id => session.id.to_string(),
        device => session.user_agent.as_deref().and_then(device_name),
        user_agent => session.user_agent.as_deref().unwrap_or_default(),
        place => &session.ip,
        created => session.created,
        last_used => session.last_used,
        current => session.current,
        owner,
    }
}

#[handler]
async fn change_user(
    Path(id): Path<String>,
    from: PeerAddress,
    posted: CheckedForm<Filled>,
) -> poem::Result<Response> {
    let CheckedForm { form, mut request } = posted;
    // A mail that anybody may ask for harms nobody.
    let scope = if form.act == "reset-mail" { Scope::ADMIN } else { Scope::SUPER };
    let act = Act::by(&mut request, scope, &form, &from).await?;
    let is_end = form.act == "delete";
    let outcome = user_changed(&act, &id, form.clone(), from.0.as_deref()).await;
    if is_end && outcome.is_ok() {
        return Ok(request.redirect_with_flash("admin/users", "", "user-gone"));
    }
    Ok(after(&request, &form, outcome, "admin/user.html", user_values(&request, &id)).await)
}

async fn user_changed(act: &Act<'_>, id: &str, form: Filled, from: Option<&str>) -> Result<Done> {
    let app = &act.request.app;
    let user = admin::user::read(app, id).await?;
    match form.act.as_str() {
        "change" => {
            // What was sent otherwise than the form showed it is to be changed, and nothing else: of two who change
            // different things neither undoes the other's, whenever they loaded the page.
            let flag = |was: &Option<String>, is: &Option<String>| {
                Some(is.is_some()).filter(|is| *is != was.is_some())
            };
            let changes = Changes {
                is_active: flag(&form.was_active, &form.is_active),
                is_superuser: flag(&form.was_superuser, &form.is_superuser),
                is_verified: flag(&form.was_verified, &form.is_verified),
                ..Changes::default()
            };
            let regrant = Some(regrant(&form)?);
            let update =
                admin::user::UserUpdate { changes, regrant, ..admin::user::UserUpdate::default() };
            admin::user::change(app, &act.superuser()?, id, update).await?;
            Ok(Done::Said("saved"))
        }
        "reset-mail" => {
            let email = user.email.parse().map_err(|_| Code::UnprocessableContent)?;
            // The mail has no code: nobody's browser but the user's may have one, and it did not ask.
            let by = Actor::of(&act.caller);
            recovery::ask(app, Purpose::ResetPassword, email, by, from, None).await?;
            Ok(Done::Said("reset-mail-done"))
        }
        "end-session" => end_session(act, form).await,
        "end-sessions" => {
            let (superuser, why) = (act.superuser()?, why(form.why)?);
            admin::revocation::end_sessions(app, &superuser, &user.email, why).await?;
            Ok(Done::Said("sessions-ended"))
        }
        "revoke-all" => {
            let (superuser, why) = (act.superuser()?, why(form.why)?);
            let target = Target::User(user.id.0);
            admin::revocation::revoke(app, &superuser, target, why).await?;
            Ok(Done::Said("revoked-all"))
        }
        "delete-token" => {
            let selection = Selection::Id(form.id.unwrap_or_default());
            if api_token::delete(app, &act.caller, selection).await? == 0 {
                return Err(Code::NotFound.into());
            }
            Ok(Done::Said("token-deleted"))
        }
        "delete" => {
            let typed = form.email.as_deref().unwrap_or_default().trim();
            if !typed.eq_ignore_ascii_case(&user.email) {
                return Err(invalid("email", "confirm-wrong", "The address is not the user's"));
            }
            admin::user::delete(app, &act.superuser()?, id).await?;
            Ok(Done::Said("saved"))
        }
        _ => Err(Code::UnprocessableContent.into()),
    }
}

/// What a form added to the scopes that it showed, and took from them.
fn regrant(form: &Filled) -> Result<Regrant> {
    let words = |text: &Option<String>| text.clone().unwrap_or_default().trim().to_owned();
    let (was, is) = (words(&form.was_scopes), words(&form.scopes));
    if was == is {
        return Ok(Regrant::default());
    }
    let (was, is) = (Scopes::parse(&was), scopes(Some(&is))?);
    let beyond = |some: &Scopes, others: &Scopes| -> Scopes {
        some.iter().filter(|scope| !others.contains(scope.as_str())).cloned().collect()
    };
    let (added, taken) = (beyond(&is, &was), beyond(&was, &is));
    // A scope may have a comma; who types one here means a space.
    if added.iter().any(|scope| scope.as_str().contains(',')) {
        return Err(scopes_wrong());
    }
    if added.contains(Scope::SUPER) {
        return Err(invalid("scopes", "scopes-super", "super is what is_superuser gives"));
    }
    Ok(Regrant { added, taken })
}

fn scopes_wrong() -> Error {
    invalid("scopes", "scopes-wrong", "Scopes are words with spaces between them")
}

/// Words separated by spaces; one that is none is refused rather than left out.
pub(super) fn scopes(text: Option<&str>) -> Result<Scopes> {
    let words = text.unwrap_or_default().split_whitespace();
    let scopes: Vec<Scope> =
        words.map(str::parse).collect::<Result<_, _>>().map_err(|_| scopes_wrong())?;
    if scopes.len() > MAX_SCOPES {
        return Err(scopes_wrong());
    }
    Ok(scopes.into_iter().collect())
}

async fn end_session(act: &Act<'_>, form: Filled) -> Result<Done> {
    let session = form.id.unwrap_or_default().parse().map_err(|_| Code::NotFound)?;
    let target = Target::Session(session);
    let why = BY_BUTTON.to_owned();
    admin::revocation::revoke(&act.request.app, &act.superuser()?, target, why).await?;
    Ok(Done::Said("session-ended"))
}

#[handler]
async fn show_sessions(
    request: PageRequest,
    PageQuery(from): PageQuery<From>,
) -> poem::Result<Response> {
    page(&request, "admin/sessions.html", sessions_values(&request, from)).await
}

async fn sessions_values(request: &PageRequest, from: From) -> Result<Value> {
    let app = &request.app;
    let after = from.after.as_deref().and_then(|id| id.parse().ok());
    let current = request.signed_in.as_ref().map(|signed_in| signed_in.session);
    let sessions = session::list_all(app, current, after, ROWS).await?;
    let ids = sessions.items.iter().map(|(_, user)| *user).collect();
    let emails = crate::identity::user::emails(&app.database, ids).await?;
    let email = |id| emails.iter().find(|(known, _)| *known == id).map_or("", |(_, email)| email);
    let last = sessions.next(|(session, _)| session.id.to_string());
    let sessions: Vec<_> = sessions
        .items
        .iter()
        .map(|(session, user)| seen_session(session, Some((user.to_string(), email(*user)))))
        .collect();
    Ok(context! { sessions, from => from.query(), next => next(last, &[]) })
}

#[handler]
async fn change_session(
    from: PeerAddress,
    PageQuery(rows): PageQuery<From>,
    posted: CheckedForm<Filled>,
) -> poem::Result<Response> {
    let CheckedForm { form, mut request } = posted;
    let act = Act::by(&mut request, Scope::SUPER, &form, &from).await?;
    let outcome = end_session(&act, form.clone()).await;
    let values = sessions_values(&request, rows);
    Ok(after(&request, &form, outcome, "admin/sessions.html", values).await)
}
