//! The pages of users and their sessions.

use std::net::IpAddr;

use entity::SessionId;
use minijinja::{Value, context};
use poem::web::Path;
use poem::{Response, handler};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::form::{PersonForm, Posted, Reason, ScopeList, scopes_wrong};
use super::tokens::delete_token;
use super::{Administrator, Outcome, ROWS, RowsQuery, after, next, page};
use crate::access;
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::access::session::pages::device_name;
use crate::access::session::{self, Session};
use crate::admin;
use crate::admin::revocation::Target;
use crate::admin::user::Regrant;
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Result};
use crate::base::listing::Page;
use crate::base::mail_address::are_same;
use crate::base::scope::{Scope, Scopes};
use crate::http::browser_request::PageQuery;
use crate::http::form::{Checkbox, Field, FilledForm, PageForm, Placement, placed};
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::user::{Changes, Filter, Language, User};
use crate::identity::verification::Purpose;
use crate::platform::audit::{self, Actor};
use crate::self_service::recovery;
use crate::self_service::registration::pages::invalid;

/// The query of the list of users: its search and filter.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct UsersQuery {
    q: Option<String>,
    state: Option<String>,
    after: Option<String>,
}

/// The pages of this module.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::form("/admin/users/{id}", show_user, change_user),
        PageRoute::form("/admin/signed-in", show_sessions, change_session),
    ]
}

/// The values of the list of users.
pub(super) async fn users_values(request: &PageRequest, sought: UsersQuery) -> Result<Value> {
    // Forms lead back to the same rows.
    let own = serde_urlencoded::to_string(&sought).ok().filter(|own| !own.is_empty());
    let UsersQuery { q, state, after } = sought;
    let state = state.unwrap_or_default();
    let filter = filter_of(q.clone(), &state);
    let users = admin::user::list(&request.app, filter, after.as_deref(), ROWS).await?;
    let last = users.next(|last| last.user.email.clone());
    let next = next(last, &[("q", q.as_deref()), ("state", Some(&state))]);
    let users: Vec<_> = users
        .items
        .iter()
        .map(|admin::user::Listed { user, dates, external_id: _ }| {
            context! {
                created => dates.created.map(Timestamp::seconds),
                last_sign_in => dates.last_sign_in.map(Timestamp::seconds),
                ..seen(user)
            }
        })
        .collect();
    let from = own.map(|own| format!("?{own}")).unwrap_or_default();
    Ok(context! { users, q => q.unwrap_or_default(), state, from, next })
}

/// The filter of the list's form.
pub(super) fn filter_of(contains: Option<String>, state: &str) -> Filter {
    Filter {
        contains,
        is_active: (state == "inactive").then_some(false),
        is_superuser: (state == "superuser").then_some(true),
        is_verified: (state == "not-verified").then_some(false),
    }
}

fn seen(user: &User) -> Value {
    let full_name = [&user.profile.name, &user.profile.surname];
    let full_name: Vec<_> = full_name.into_iter().flatten().map(String::as_str).collect();
    context! {
        id => user.id.to_string(),
        email => &user.email,
        name => user.profile.name.as_deref().unwrap_or_default(),
        surname => user.profile.surname.as_deref().unwrap_or_default(),
        full_name => full_name.join(" "),
        website => user.profile.website.as_ref().map(|website| website.as_str()),
        language => user.profile.language.as_ref().map(Language::as_str),
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
    let external_id = admin::user::external_id(app, user.id).await?;
    Ok(context! {
        user => seen(&user),
        external_id,
        languages => request.languages(user.profile.language.as_ref().map(Language::as_str)),
        sessions => sessions.iter().map(|session| seen_session(session, None)).collect::<Vec<_>>(),
        more_sessions,
        tokens,
        events => super::events::seen(request, events).await?,
        mails => app.mail.sends(),
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

/// A form of a user's page.
#[derive(Deserialize, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
enum UserForm {
    Change(Rights),
    Profile(PersonForm),
    ResetMail,
    EndSession {
        #[serde(default)]
        id: Field<Uuid>,
    },
    EndSessions {
        #[serde(default)]
        why: Field<Reason>,
    },
    RevokeAll {
        #[serde(default)]
        why: Field<Reason>,
    },
    DeleteToken {
        #[serde(default)]
        id: String,
    },
    Delete {
        /// The user's address, typed to confirm.
        #[serde(default)]
        email: String,
    },
    #[serde(other)]
    Unknown,
}

impl PageForm for UserForm {
    fn placement(&self) -> Placement {
        match self {
            UserForm::Change(_) => placed("change", "rights", &["scopes"]),
            UserForm::Profile(_) => {
                placed("profile", "profile", &["email", "name", "surname", "website", "language"])
            }
            UserForm::ResetMail => placed("reset-mail", "acts", &[]),
            UserForm::EndSession { .. } => placed("end-session", "sessions", &[]),
            UserForm::EndSessions { .. } => placed("end-sessions", "acts", &["why"]),
            UserForm::RevokeAll { .. } => placed("revoke-all", "acts", &["why"]),
            UserForm::DeleteToken { .. } => placed("delete-token", "tokens", &[]),
            UserForm::Delete { .. } => placed("delete", "acts", &["email"]),
            UserForm::Unknown => Placement::default(),
        }
    }
}

/// The form that changes the flags and scopes of a user. It contains the values that it showed when it was loaded.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Rights {
    was_active: Checkbox,
    was_superuser: Checkbox,
    was_verified: Checkbox,
    was_scopes: String,
    is_active: Checkbox,
    is_superuser: Checkbox,
    is_verified: Checkbox,
    scopes: Field<ScopeList>,
}

impl Rights {
    /// Changes only the values that differ from those that the form showed. So two superusers who change different
    /// values do not undo each other's change, whenever they loaded the page.
    fn update(self) -> Result<admin::user::UserUpdate> {
        let flag = |was: Checkbox, is: Checkbox| Some(is.0).filter(|_| is != was);
        let changes = Changes {
            is_active: flag(self.was_active, self.is_active),
            is_superuser: flag(self.was_superuser, self.is_superuser),
            is_verified: flag(self.was_verified, self.is_verified),
            ..Changes::default()
        };
        let regrant = Some(self.regrant()?);
        Ok(admin::user::UserUpdate { changes, regrant, ..admin::user::UserUpdate::default() })
    }

    /// The scopes that were added to and removed from those that the form showed.
    fn regrant(self) -> Result<Regrant> {
        if self.was_scopes.trim() == self.scopes.text.trim() {
            return Ok(Regrant::default());
        }
        let (was, is) = (Scopes::parse(self.was_scopes.trim()), self.scopes.value?.0);
        let beyond = |some: &Scopes, others: &Scopes| -> Scopes {
            some.iter().filter(|scope| !others.contains(scope.as_str())).cloned().collect()
        };
        let (added, taken) = (beyond(&is, &was), beyond(&was, &is));
        // A scope can contain a comma, but a comma typed here was meant as a space.
        if added.iter().any(|scope| scope.as_str().contains(',')) {
            return Err(scopes_wrong());
        }
        if added.contains(Scope::SUPER) {
            return Err(invalid(
                "scopes",
                "scopes-super",
                "The scope super comes only with is_superuser",
            ));
        }
        Ok(Regrant { added, taken })
    }
}

#[handler]
async fn change_user(
    Path(id): Path<String>,
    peer: PeerAddress,
    posted: CheckedForm<Posted<UserForm>>,
) -> poem::Result<Response> {
    let CheckedForm { form: Posted { form, proof }, mut request } = posted;
    // Anybody can request this mail, so it does no harm.
    let scope = if matches!(form, UserForm::ResetMail) { Scope::ADMIN } else { Scope::SUPER };
    let deletes = matches!(form, UserForm::Delete { .. });
    let filled = FilledForm::of(&form);
    let administrator = Administrator::of(&mut request, scope, &filled, proof, &peer).await?;
    let outcome = user_changed(&administrator, &id, form, peer.0).await;
    if deletes && outcome.is_ok() {
        return Ok(request.redirect_with_flash("admin/users", "", "user-gone"));
    }
    Ok(after(&request, &filled, outcome, "admin/user.html", user_values(&request, &id)).await)
}

async fn user_changed(
    administrator: &Administrator<'_>,
    id: &str,
    form: UserForm,
    ip: Option<IpAddr>,
) -> Result<Outcome> {
    let app = &administrator.request.app;
    let user = admin::user::read(app, id).await?;
    match form {
        UserForm::Change(rights) => changed(administrator, id, rights.update()?).await,
        UserForm::Profile(person) => changed(administrator, id, person.update()?).await,
        UserForm::ResetMail => {
            let email = user.email.parse().map_err(|_| Code::UnprocessableContent)?;
            // The mail has no code: only the user's browser could use one, and it did not ask for the mail.
            let by = Actor::of(&administrator.caller);
            recovery::ask(app, Purpose::ResetPassword, email, by, ip, None).await?;
            Ok(Outcome::Flash("reset-mail-done"))
        }
        UserForm::EndSession { id } => end_session(administrator, id).await,
        UserForm::EndSessions { why } => {
            let (superuser, Reason(why)) = (administrator.superuser()?, why.value?);
            admin::revocation::end_sessions(app, &superuser, &user.email, why).await?;
            Ok(Outcome::Flash("sessions-ended"))
        }
        UserForm::RevokeAll { why } => {
            let (superuser, Reason(why)) = (administrator.superuser()?, why.value?);
            let target = Target::User(user.id);
            admin::revocation::revoke(app, &superuser, target, why).await?;
            Ok(Outcome::Flash("revoked-all"))
        }
        UserForm::DeleteToken { id } => delete_token(administrator, id).await,
        UserForm::Delete { email } => {
            if !are_same(&email, &user.email) {
                return Err(invalid(
                    "email",
                    "confirm-wrong",
                    "This is not the address of the user",
                ));
            }
            admin::user::delete(app, &administrator.superuser()?, id).await?;
            Ok(Outcome::Flash("saved"))
        }
        UserForm::Unknown => Err(Code::UnprocessableContent.into()),
    }
}

async fn changed(
    administrator: &Administrator<'_>,
    id: &str,
    update: admin::user::UserUpdate,
) -> Result<Outcome> {
    let app = &administrator.request.app;
    admin::user::change(app, &administrator.superuser()?, id, update).await?;
    Ok(Outcome::Flash("saved"))
}

/// The reason for a session that a button ends, because no reason is typed.
const BY_BUTTON: &str = "ended on the administration pages";

async fn end_session(administrator: &Administrator<'_>, id: Field<Uuid>) -> Result<Outcome> {
    let target = Target::Session(SessionId(id.value.map_err(|_| Code::NotFound)?));
    let (app, superuser) = (&administrator.request.app, administrator.superuser()?);
    admin::revocation::revoke(app, &superuser, target, BY_BUTTON.to_owned()).await?;
    Ok(Outcome::Flash("session-ended"))
}

#[handler]
async fn show_sessions(
    request: PageRequest,
    PageQuery(rows): PageQuery<RowsQuery>,
) -> poem::Result<Response> {
    page(&request, "admin/sessions.html", sessions_values(&request, rows)).await
}

async fn sessions_values(request: &PageRequest, rows: RowsQuery) -> Result<Value> {
    let app = &request.app;
    let after = rows.after.as_deref().and_then(|id| id.parse().ok());
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
    Ok(context! { sessions, from => rows.query(), next => next(last, &[]) })
}

/// The form of the list of sessions, which has one action.
#[derive(Deserialize, Serialize)]
struct SessionForm {
    act: String,
    #[serde(default)]
    id: Field<Uuid>,
}

impl PageForm for SessionForm {
    fn placement(&self) -> Placement {
        placed("end-session", "sessions", &[])
    }
}

#[handler]
async fn change_session(
    peer: PeerAddress,
    PageQuery(rows): PageQuery<RowsQuery>,
    posted: CheckedForm<Posted<SessionForm>>,
) -> poem::Result<Response> {
    let CheckedForm { form: Posted { form, proof }, mut request } = posted;
    let filled = FilledForm::of(&form);
    let administrator =
        Administrator::of(&mut request, Scope::SUPER, &filled, proof, &peer).await?;
    let outcome = end_session(&administrator, form.id).await;
    let values = sessions_values(&request, rows);
    Ok(after(&request, &filled, outcome, "admin/sessions.html", values).await)
}
