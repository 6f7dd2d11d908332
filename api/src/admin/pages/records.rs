//! What was revoked, and what happened.

use std::collections::{HashMap, HashSet};

use entity::PrincipalId;
use minijinja::{Value, context};
use poem::{Response, handler};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{Act, Done, Filled, From, ROWS, after, next, page, why};
use crate::access::caller::page::{CheckedForm, PageRequest};
use crate::admin;
use crate::admin::revocation::Target;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::base::scope::Scope;
use crate::http::browser_request::PageQuery;
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::service;
use crate::identity::user;
use crate::platform::audit::{self, Row};
use crate::platform::revocation;
use crate::self_service::registration::pages::invalid;

/// The pages.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![
        PageRoute::form("/admin/revoked", show_revocations, change_revocations),
        PageRoute::get("/admin/events", show_events),
    ]
}

#[handler]
async fn show_revocations(
    request: PageRequest,
    PageQuery(from): PageQuery<From>,
) -> poem::Result<Response> {
    page(&request, "admin/revocations.html", revocations_values(&request, from)).await
}

async fn revocations_values(request: &PageRequest, from: From) -> Result<Value> {
    let before = from.after.as_deref().and_then(|after| after.parse().ok());
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
    Ok(context! { entries, from => from.query(), next => next(last, &[]) })
}

#[handler]
async fn change_revocations(
    from: PeerAddress,
    PageQuery(rows): PageQuery<From>,
    posted: CheckedForm<Filled>,
) -> poem::Result<Response> {
    let CheckedForm { form, mut request } = posted;
    let act = Act::by(&mut request, Scope::SUPER, &form, &from).await?;
    let outcome = revocations_changed(&act, form.clone()).await;
    Ok(after(
        &request,
        &form,
        outcome,
        "admin/revocations.html",
        revocations_values(&request, rows),
    )
    .await)
}

async fn revocations_changed(act: &Act<'_>, form: Filled) -> Result<Done> {
    let app = &act.request.app;
    match form.act.as_str() {
        "revoke" => {
            let subject = form.subject.unwrap_or_default();
            let wrong = |_| invalid("subject", "id-wrong", "This is no id");
            let id = subject.trim().parse().map_err(wrong)?;
            let target = match form.kind.as_deref() {
                Some("jti") => Target::Token(id),
                Some("sid") => Target::Session(id),
                Some("sub") => Target::User(id),
                _ => return Err(Code::UnprocessableContent.into()),
            };
            admin::revocation::revoke(app, &act.superuser()?, target, why(form.why)?).await?;
            Ok(Done::Said("revoked"))
        }
        "lift" => {
            let seq = form.id.unwrap_or_default().parse().map_err(|_| Code::NotFound)?;
            admin::revocation::lift(app, &act.superuser()?, seq).await?;
            Ok(Done::Said("lifted"))
        }
        "explain" => {
            let token = form.token.unwrap_or_default();
            Ok(Done::Told(admin::revocation::explain(app, token.trim()).await?.sentence))
        }
        _ => Err(Code::UnprocessableContent.into()),
    }
}

/// Which acts are looked for.
#[derive(Debug, Deserialize)]
struct Sought {
    act: Option<String>,
    actor: Option<String>,
    subject: Option<String>,
    since: Option<String>,
    after: Option<String>,
}

#[handler]
async fn show_events(
    request: PageRequest,
    PageQuery(sought): PageQuery<Sought>,
) -> poem::Result<Response> {
    page(&request, "admin/events.html", events_values(&request, sought)).await
}

async fn events_values(request: &PageRequest, sought: Sought) -> Result<Value> {
    let app = &request.app;
    let typed =
        |text: &Option<String>| text.as_deref().map(str::trim).unwrap_or_default().to_owned();
    let (act, actor, subject) = (typed(&sought.act), typed(&sought.actor), typed(&sought.subject));
    let since = typed(&sought.since);
    let day = Some(&since).filter(|since| !since.is_empty());
    let day = day.map(|since| chrono::NaiveDate::parse_from_str(since, "%Y-%m-%d")).transpose();
    let (day, fault) = match day {
        Ok(day) => (day, String::new()),
        // Nothing rather than everything, as if it had been looked for.
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

/// Who is meant: an e-mail address, a service's name as `service:…`, or what the audit has, as `user:…`.
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

/// Rows of the audit, with the addresses and names of those who are in them.
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
        // What is none of ours is shown as it is.
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
