//! The pages of revocations and the audit.

use std::collections::{HashMap, HashSet};

use entity::PrincipalId;
use minijinja::{Value, context};
use poem::{Response, handler};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::form::{Posted, Reason};
use super::{Administrator, Outcome, ROWS, RowsQuery, after, next, page};
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::admin;
use crate::admin::revocation::Target;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::base::scope::Scope;
use crate::http::browser_request::PageQuery;
use crate::http::form::{Field, FilledForm, PageForm, Placement, placed};
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::service;
use crate::identity::user;
use crate::platform::audit::{self, Row};
use crate::platform::revocation;
use crate::self_service::registration::pages::invalid;

/// The pages of this module.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::form("/admin/revoked", show_revocations, change_revocations),
        PageRoute::get("/admin/events", show_events),
    ]
}

#[handler]
async fn show_revocations(
    request: PageRequest,
    PageQuery(rows): PageQuery<RowsQuery>,
) -> poem::Result<Response> {
    page(&request, "admin/revocations.html", revocations_values(&request, rows)).await
}

async fn revocations_values(request: &PageRequest, rows: RowsQuery) -> Result<Value> {
    let before = rows.after.as_deref().and_then(|after| after.parse().ok());
    let entries = revocation::list(&request.app, Some(&revocation::COVERING), before, ROWS).await?;
    let last = entries.next(|last| last.seq.to_string());
    let entries = entries.items;
    let is_user = |entry: &&revocation::Entry| entry.kind == "sub";
    let ids =
        entries.iter().filter(is_user).filter_map(|entry| entry.subject.parse().ok()).collect();
    let emails: HashMap<_, _> = user::emails(&request.app.database, ids)
        .await?
        .into_iter()
        .map(|(id, email)| (id.to_string(), email))
        .collect();
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| {
            context! {
                email => emails.get(&entry.subject),
                seq => entry.seq,
                kind => &entry.kind,
                subject => &entry.subject,
                why => &entry.why,
                at => entry.at,
                until => entry.until,
            }
        })
        .collect();
    Ok(context! { entries, from => rows.query(), next => next(last, &[]) })
}

/// A form of the page of revocations.
#[derive(Deserialize, Serialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
enum RevocationForm {
    Revoke(NewRevocation),
    Lift {
        /// The number of the revocation.
        #[serde(default)]
        id: Field<i64>,
    },
    Explain {
        #[serde(default, skip_serializing)]
        token: String,
    },
    #[serde(other)]
    Unknown,
}

/// The form that revokes a token, a session, or everything of a user.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct NewRevocation {
    kind: String,
    subject: String,
    why: Field<Reason>,
}

impl NewRevocation {
    fn target(&self) -> Result<Target> {
        let wrong = |_| invalid("subject", "id-wrong", "This is not an id");
        let id = self.subject.trim().parse().map_err(wrong)?;
        Ok(Target::of(&self.kind, id).ok_or(Code::UnprocessableContent)?)
    }
}

impl PageForm for RevocationForm {
    fn placement(&self) -> Placement {
        match self {
            RevocationForm::Revoke(_) => placed("revoke", "revoke", &["subject", "why"]),
            RevocationForm::Lift { .. } => placed("lift", "", &[]),
            RevocationForm::Explain { .. } => placed("explain", "explain", &[]),
            RevocationForm::Unknown => Placement::default(),
        }
    }
}

#[handler]
async fn change_revocations(
    peer: PeerAddress,
    PageQuery(rows): PageQuery<RowsQuery>,
    posted: CheckedForm<Posted<RevocationForm>>,
) -> poem::Result<Response> {
    let CheckedForm { form: Posted { form, proof }, mut request } = posted;
    let filled = FilledForm::of(&form);
    let administrator =
        Administrator::of(&mut request, Scope::SUPER, &filled, proof, &peer).await?;
    let outcome = revocations_changed(&administrator, form).await;
    let values = revocations_values(&request, rows);
    Ok(after(&request, &filled, outcome, "admin/revocations.html", values).await)
}

async fn revocations_changed(
    administrator: &Administrator<'_>,
    form: RevocationForm,
) -> Result<Outcome> {
    let app = &administrator.request.app;
    match form {
        RevocationForm::Revoke(new) => {
            let (target, superuser) = (new.target()?, administrator.superuser()?);
            admin::revocation::revoke(app, &superuser, target, new.why.value?.0).await?;
            Ok(Outcome::Flash("revoked"))
        }
        RevocationForm::Lift { id } => {
            let seq = id.value.map_err(|_| Code::NotFound)?;
            admin::revocation::lift(app, &administrator.superuser()?, seq).await?;
            Ok(Outcome::Flash("lifted"))
        }
        RevocationForm::Explain { token } => {
            Ok(Outcome::Answer(admin::revocation::explain(app, token.trim()).await?.sentence))
        }
        RevocationForm::Unknown => Err(Code::UnprocessableContent.into()),
    }
}

/// The query of the audit: its filters.
#[derive(Debug, Deserialize)]
struct EventsQuery {
    act: Option<String>,
    actor: Option<String>,
    subject: Option<String>,
    since: Option<String>,
    after: Option<String>,
}

#[handler]
async fn show_events(
    request: PageRequest,
    PageQuery(sought): PageQuery<EventsQuery>,
) -> poem::Result<Response> {
    page(&request, "admin/events.html", events_values(&request, sought)).await
}

async fn events_values(request: &PageRequest, sought: EventsQuery) -> Result<Value> {
    let app = &request.app;
    let typed =
        |text: &Option<String>| text.as_deref().map(str::trim).unwrap_or_default().to_owned();
    let (act, actor, subject) = (typed(&sought.act), typed(&sought.actor), typed(&sought.subject));
    let since = typed(&sought.since);
    let day = Some(&since).filter(|since| !since.is_empty());
    let day = day.map(|since| chrono::NaiveDate::parse_from_str(since, "%Y-%m-%d")).transpose();
    let (day, fault) = match day {
        Ok(day) => (day, String::new()),
        // An invalid time shows no entries. All entries would look like the result of the search.
        Err(_) => (Some(chrono::NaiveDate::MAX), request.text("since-wrong")),
    };
    let filter = audit::Filter {
        act: Some(act.clone()).filter(|act| !act.is_empty()),
        actor: named(app, &actor).await?,
        subject: named(app, &subject).await?,
        since: day.map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()),
        after: sought.after.and_then(|after| after.parse().ok()),
        limit: ROWS,
        ..audit::Filter::default()
    };
    let rows = audit::list(app, filter).await?;
    let last = rows.next(|last| last.seq.to_string());
    let kept = [("act", &act), ("actor", &actor), ("subject", &subject), ("since", &since)];
    let kept = kept.map(|(name, value)| (name, Some(value.as_str())));
    let acts: Vec<_> = audit::Act::ALL.iter().map(|act| act.name()).collect();
    Ok(context! {
        events => seen(app, rows.items).await?,
        next => next(last, &kept),
        acts, act, actor, subject, since,
        field => if fault.is_empty() { "" } else { "since" },
        fault,
    })
}

/// The subject or actor that was typed: an e-mail address, `service:…` with the name of a service, or a value of the
/// audit such as `user:…`.
async fn named(app: &App, typed: &str) -> Result<Option<String>> {
    if typed.is_empty() {
        return Ok(None);
    }
    let name = typed.strip_prefix("service:").unwrap_or(typed);
    let found = match typed.contains('@') || name != typed {
        true => service::principal_named(app, name).await?,
        false => None,
    };
    Ok(Some(match found.map(|found| found.id()) {
        Some(PrincipalId::User(id)) => format!("user:{id}"),
        Some(PrincipalId::Service(id)) => format!("service:{id}"),
        None => typed.to_owned(),
    }))
}

/// Rows of the audit, with the addresses and names of the users and services in them.
pub(super) async fn seen(app: &App, rows: Vec<Row>) -> Result<Vec<Value>> {
    let id = |name: &str| match name.split_once(':')? {
        ("user", id) => Some(PrincipalId::User(id.parse().ok()?)),
        ("service", id) => Some(PrincipalId::Service(id.parse().ok()?)),
        _ => None,
    };
    let parties = rows.iter().flat_map(|row| [Some(row.actor.as_str()), row.subject.as_deref()]);
    let ids: HashSet<_> = parties.flatten().filter_map(id).collect();
    let names = service::names(app, ids.into_iter()).await?;
    let party = |party: &str| {
        let id = id(party);
        let known = id.and_then(|id| names.get(&id));
        match (id, known) {
            (Some(PrincipalId::User(id)), Some(email)) => {
                context! { name => party, id => id.to_string(), email }
            }
            (Some(PrincipalId::Service(_)), Some(name)) => {
                context! { name => format!("service:{name}"), id => (), email => () }
            }
            _ => context! { name => party, id => (), email => () },
        }
    };
    let seen = rows.iter().map(|row| {
        // A detail that is not a JSON object is shown unchanged.
        let raw = |_| Map::from_iter([("?".to_owned(), Json::from(row.detail.as_str()))]);
        let detail: Map<String, Json> = serde_json::from_str(&row.detail).unwrap_or_else(raw);
        let text = |value: Json| value.as_str().map_or(value.to_string(), ToOwned::to_owned);
        let detail: Vec<_> = detail.into_iter().map(|(name, value)| (name, text(value))).collect();
        context! {
            seq => row.seq,
            at => row.at.div_euclid(1000),
            act => &row.act,
            actor => party(&row.actor),
            subject => row.subject.as_deref().map(party),
            place => &row.ip,
            request => &row.request,
            detail => detail,
        }
    });
    Ok(seen.collect())
}
