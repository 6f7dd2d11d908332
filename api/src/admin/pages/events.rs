//! The page of the audit: who did what to whom, in words, and the ids behind them.

use std::collections::{HashMap, HashSet};

use chrono::{NaiveDate, NaiveTime};
use entity::{ApiTokenId, PrincipalId};
use minijinja::{Value, context};
use poem::{Response, handler};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{ROWS, next, page};
use crate::access::api_token;
use crate::access::caller::page::PageRequest;
use crate::app::App;
use crate::base::clock::MILLIS_OF_A_DAY;
use crate::base::error::Result;
use crate::http::browser_request::PageQuery;
use crate::http::paths::PageRoute;
use crate::identity::service;
use crate::platform::audit::{self, Act, Row};
use crate::provider::client;

/// The kinds of actions, with the beginnings of their names. The first match counts.
const KINDS: [(&str, &[&str]); 5] = [
    ("app", &["client-", "resource-", "consent-", "grant-", "code-reuse"]),
    (
        "sign-in",
        &["login", "freshen", "refresh-", "logout", "session-", "code-refused", "upstream-refused"],
    ),
    ("token", &["token-", "revoke", "admin-", "service-"]),
    (
        "account",
        &["register", "password-", "email-", "flags-", "scopes-", "user", "invite", "identity-"],
    ),
    ("server", &[""]),
];

/// The pages of this module.
pub(super) fn pages() -> Vec<PageRoute> {
    vec![PageRoute::get("/admin/events", show)]
}

/// The query of the audit: its filters.
#[derive(Debug, Deserialize)]
struct EventsQuery {
    act: Option<String>,
    actor: Option<String>,
    subject: Option<String>,
    since: Option<String>,
    until: Option<String>,
    after: Option<String>,
}

#[handler]
async fn show(
    request: PageRequest,
    PageQuery(sought): PageQuery<EventsQuery>,
) -> poem::Result<Response> {
    page(&request, "admin/events.html", values(&request, sought)).await
}

async fn values(request: &PageRequest, sought: EventsQuery) -> Result<Value> {
    let app = &request.app;
    let EventsQuery { act, actor, subject, since, until, after } = sought;
    let [act, actor, subject, since, until] = [act, actor, subject, since, until]
        .map(|text| text.as_deref().map(str::trim).unwrap_or_default().to_owned());
    let (first, last) = (Day::of(&since), Day::of(&until));
    let field = match (&first, &last) {
        (Day::Wrong, _) => "since",
        (_, Day::Wrong) => "until",
        _ => "",
    };
    let filter = audit::Filter {
        act: Some(act.clone()).filter(|act| !act.is_empty()),
        actor: named(app, &actor).await?,
        subject: named(app, &subject).await?,
        // An invalid time shows no entries. All entries would look like the result of the search.
        since: if field.is_empty() { first.begin() } else { Some(i64::MAX) },
        before: last.begin().map(|begin| begin + MILLIS_OF_A_DAY),
        after: after.and_then(|after| after.parse().ok()),
        limit: ROWS,
        ..audit::Filter::default()
    };
    let rows = audit::list(app, filter).await?;
    let last = rows.next(|last| last.seq.to_string());
    let kept = [
        ("act", &act),
        ("actor", &actor),
        ("subject", &subject),
        ("since", &since),
        ("until", &until),
    ];
    let kept = kept.map(|(name, value)| (name, Some(value.as_str())));
    let fault = if field.is_empty() { String::new() } else { request.text("since-wrong") };
    Ok(context! {
        events => seen(request, rows.items).await?,
        next => next(last, &kept),
        kinds => kinds(),
        act, actor, subject, since, until, field, fault,
    })
}

/// A day that was typed.
enum Day {
    None,
    At(NaiveDate),
    Wrong,
}

impl Day {
    fn of(text: &str) -> Self {
        match text {
            "" => Self::None,
            text => NaiveDate::parse_from_str(text, "%Y-%m-%d").map_or(Self::Wrong, Self::At),
        }
    }

    /// The begin of the day, in milliseconds since the epoch.
    fn begin(&self) -> Option<i64> {
        match self {
            Self::At(day) => Some(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()),
            Self::None | Self::Wrong => None,
        }
    }
}

/// All actions, by their kinds.
fn kinds() -> Vec<Value> {
    let kind_of = |act: &str| {
        let known =
            KINDS.iter().find(|(_, begins)| begins.iter().any(|begin| act.starts_with(begin)));
        known.map(|(kind, _)| *kind)
    };
    let names = Act::ALL.iter().map(|act| act.name());
    let kinds = ["sign-in", "account", "token", "app", "server"].map(|kind| {
        let acts: Vec<_> = names.clone().filter(|act| kind_of(act) == Some(kind)).collect();
        context! { name => kind, acts }
    });
    kinds.into()
}

/// The subject or actor that was typed: an e-mail address, the name of a service, or a value of the audit such as `user:…`.
async fn named(app: &App, typed: &str) -> Result<Option<String>> {
    if typed.is_empty() {
        return Ok(None);
    }
    let name = typed.strip_prefix("service:").unwrap_or(typed);
    let found = match name.contains(':') {
        true => None,
        false => service::principal_named(app, name).await?,
    };
    Ok(Some(match found.map(|found| found.id()) {
        Some(PrincipalId::User(id)) => format!("user:{id}"),
        Some(PrincipalId::Service(id)) => format!("service:{id}"),
        None => typed.to_owned(),
    }))
}

/// The names of those who are in rows of the audit.
struct Names {
    principals: HashMap<PrincipalId, String>,
    tokens: HashMap<ApiTokenId, (PrincipalId, String)>,
    clients: HashMap<String, String>,
}

impl Names {
    async fn of(app: &App, rows: &[Row]) -> Result<Self> {
        let parties =
            rows.iter().flat_map(|row| [Some(row.actor.as_str()), row.subject.as_deref()]);
        let parties: HashSet<_> =
            parties.flatten().filter_map(|party| party.split_once(':')).collect();
        let ids = |kind: &str| {
            let kind = kind.to_owned();
            parties.iter().filter(move |(known, _)| *known == kind).map(|(_, id)| *id)
        };
        let tokens = ids("api_token").filter_map(|id| id.parse().ok()).collect();
        let tokens = api_token::labels(app, tokens).await?;
        let users = ids("user").filter_map(|id| Some(PrincipalId::User(id.parse().ok()?)));
        let services = ids("service").filter_map(|id| Some(PrincipalId::Service(id.parse().ok()?)));
        let owners = tokens.values().map(|(owner, _)| *owner);
        let principals: HashSet<_> = users.chain(services).chain(owners).collect();
        let principals = service::names(app, principals.into_iter()).await?;
        let mut clients = HashMap::new();
        for id in ids("client") {
            // A row that cannot be read has no name here, like one that was deleted.
            let name = match id.parse() {
                Ok(known) => {
                    client::by_id(app, known).await.ok().flatten().map(|client| client.name)
                }
                Err(_) => {
                    client::find(app, id).await.ok().flatten().map(|client| client.name.clone())
                }
            };
            clients.extend(name.map(|name| (id.to_owned(), name)));
        }
        Ok(Self { principals, tokens, clients })
    }

    /// A party of a row in words, with the address of the page about a user, and the value in the table.
    fn party(&self, request: &PageRequest, raw: &str) -> Value {
        let say = |text: &str| request.text(text);
        let named =
            |text: &str, name: &str| request.text_with(text, &[("name", name.to_owned().into())]);
        let (kind, id) = raw.split_once(':').unwrap_or((raw, ""));
        let principal = match kind {
            "user" => id.parse().ok().map(PrincipalId::User),
            "service" => id.parse().ok().map(PrincipalId::Service),
            _ => None,
        };
        let known = principal.and_then(|id| self.principals.get(&id));
        let (text, user) = match (kind, known) {
            ("anybody" | "nobody", _) => (say("party-anybody"), None),
            ("operator", _) => (say("party-operator"), None),
            ("user", Some(email)) => (email.clone(), Some(id)),
            ("user", None) => (say("party-user-gone"), None),
            ("service", Some(name)) => (named("party-service", name), None),
            ("service", None) => (say("party-service-gone"), None),
            ("api_token", _) => (self.token(request, id), None),
            ("client", _) => match self.clients.get(id) {
                Some(name) => (named("party-client", name), None),
                None => (named("party-client", id), None),
            },
            ("key" | "resource" | "invitation" | "token" | "session" | "mail" | "epoch", _) => {
                (say(&format!("party-{kind}")), None)
            }
            // Another release wrote it.
            _ => (raw.to_owned(), None),
        };
        context! { text, user, raw, email => known.filter(|_| kind == "user") }
    }

    fn token(&self, request: &PageRequest, id: &str) -> String {
        let known = id.parse().ok().and_then(|id| self.tokens.get(&id));
        let Some((owner, label)) = known else { return request.text("party-token-gone") };
        let owner = self.principals.get(owner).cloned().unwrap_or_default();
        let values = [("owner", owner.into()), ("name", label.clone().into())];
        request.text_with("party-api-token", &values)
    }
}

/// Rows of the audit in words.
pub(super) async fn seen(request: &PageRequest, rows: Vec<Row>) -> Result<Vec<Value>> {
    let names = Names::of(&request.app, &rows).await?;
    let seen = rows.iter().map(|row| {
        // A detail that is not a JSON object is shown unchanged.
        let raw = |_| Map::from_iter([("?".to_owned(), Json::from(row.detail.as_str()))]);
        let mut detail: Map<String, Json> = serde_json::from_str(&row.detail).unwrap_or_else(raw);
        let text = |value: Json| value.as_str().map_or(value.to_string(), ToOwned::to_owned);
        let why = detail.remove("why").map(text);
        let detail: Vec<_> = detail.into_iter().map(|(name, value)| (name, text(value))).collect();
        let is_own = row.subject.as_ref() == Some(&row.actor);
        let subject = row.subject.as_deref().map(|subject| names.party(request, subject));
        context! {
            seq => row.seq,
            at => row.at.div_euclid(1000),
            act => &row.act,
            actor => names.party(request, &row.actor),
            subject,
            is_own,
            place => &row.ip,
            request => &row.request,
            why,
            detail,
        }
    });
    Ok(seen.collect())
}
