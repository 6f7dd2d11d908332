//! The pages of the administration: who has the scope `admin` sees them, and superusers act on them.

mod confirm;
mod people;
mod records;
mod system;
mod tokens;

use std::sync::Arc;

use minijinja::{Value, context};
use poem::http::StatusCode;
use poem::{Response, handler};
use serde::{Deserialize, Serialize};

use crate::access::caller::page::PageRequest;
use crate::access::caller::{Caller, Superuser};
use crate::access::session::browser::SignedIn;
use crate::admin::overview::{Day, overview};
use crate::base::error::page::{Head, field_of};
use crate::base::error::{Code, Error, Result};
use crate::base::scope::Scope;
use crate::http::body::is_line;
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::user;
use crate::platform::replica;
use crate::self_service::account::pages::message;
use crate::self_service::registration::pages::invalid;

/// How many rows a page has.
const ROWS: u64 = 50;

/// The days whose course is shown.
const DAYS: u16 = 30;

/// What a form says; each act wants some of it. A box that is not ticked is missing. It is written as what a page keeps
/// of it: no password, and no token.
#[derive(Clone, Default, Deserialize, Serialize)]
struct Filled {
    act: String,
    id: Option<String>,
    name: Option<String>,
    scopes: Option<String>,
    why: Option<String>,
    kind: Option<String>,
    subject: Option<String>,
    #[serde(skip_serializing)]
    token: Option<String>,
    username: Option<String>,
    days: Option<String>,
    #[serde(skip_serializing)]
    current: Option<String>,
    /// The password with which the act is confirmed.
    #[serde(skip_serializing)]
    proof: Option<String>,
    algorithm: Option<String>,
    email: Option<String>,
    now: Option<String>,
    force: Option<String>,
    /// What the form showed when it was loaded.
    was_active: Option<String>,
    was_superuser: Option<String>,
    was_verified: Option<String>,
    was_scopes: Option<String>,
    is_active: Option<String>,
    is_superuser: Option<String>,
    is_verified: Option<String>,
}

impl Filled {
    /// What stays in the form after a refusal: no password, and no token.
    fn typed(&self) -> Value {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        context! {
            name => text(&self.name),
            scopes => text(&self.scopes),
            why => text(&self.why),
            kind => text(&self.kind),
            subject => text(&self.subject),
            username => text(&self.username),
            days => text(&self.days),
            email => text(&self.email),
            is_active => self.is_active.is_some(),
            is_superuser => self.is_superuser.is_some(),
            is_verified => self.is_verified.is_some(),
            was_active => self.was_active.is_some(),
            was_superuser => self.was_superuser.is_some(),
            was_verified => self.was_verified.is_some(),
            was_scopes => text(&self.was_scopes),
        }
    }
}

/// What came of a form.
enum Done {
    /// It is done: what its text is known by.
    Said(&'static str),
    /// An API token was made: its secret is shown this once.
    Secret(String),
    /// What there is to say, in words that are nobody's to translate.
    Told(String),
}

/// From which row on a list is shown.
#[derive(Debug, Clone, Deserialize)]
struct From {
    after: Option<String>,
}

impl From {
    /// The query that says so, for forms to lead back to the same rows.
    fn query(&self) -> String {
        next(self.after.clone(), &[])
    }
}

/// What somebody does on these pages.
struct Act<'a> {
    request: &'a PageRequest,
    signed_in: SignedIn,
    caller: Caller,
}

impl<'a> Act<'a> {
    /// By whoever has a scope, and has given their password with the form if they were asked for it.
    async fn by(
        request: &'a mut PageRequest,
        scope: &'static str,
        form: &Filled,
        from: &PeerAddress,
    ) -> poem::Result<Self> {
        let mut signed_in = request.allowed(scope)?;
        // As the table has them: who was demoted on another replica a moment ago does nothing here.
        let user = user::by_id(&request.app.database, signed_in.user.id).await?;
        let user = user.map(|known| known.user).filter(|user| user.is_active);
        let user = user.filter(|user| user.scopes().contains(scope) || user.is_superuser);
        let refusal = || request.refusal(&request.text("not-allowed"), Code::Forbidden.into());
        signed_in.user = Arc::new(user.ok_or_else(|| poem::Error::from_response(refusal()))?);
        let proved = confirm::prove(request, &signed_in, form, from.0.as_deref()).await;
        let authentication = proved.map_err(poem::Error::from_response)?;
        let caller = Caller::browser(&signed_in, authentication);
        Ok(Self { request, signed_in, caller })
    }

    /// The one who does it, as a superuser.
    fn superuser(&self) -> Result<Superuser> {
        self.caller.clone().try_into()
    }
}

/// A page, for who may see it.
async fn page(
    request: &PageRequest,
    template: &str,
    values: impl Future<Output = Result<Value>>,
) -> poem::Result<Response> {
    request.allowed(Scope::ADMIN)?;
    Ok(shown(request, StatusCode::OK, template, context! {}, values).await)
}

/// A page after what its form did.
async fn after(
    request: &PageRequest,
    form: &Filled,
    outcome: Result<Done>,
    template: &str,
    values: impl Future<Output = Result<Value>>,
) -> Response {
    let section = section_of(&form.act);
    let (status, more) = match outcome {
        Ok(Done::Said(name)) => {
            return match request.is_still_signed_in().await {
                Ok(true) => request.redirect_with_flash(request.place(), section, name),
                Ok(false) => request.redirect_to_login(Some("signed-out-by-it")),
                Err(error) => refused(request, error),
            };
        }
        Ok(Done::Told(told)) => (StatusCode::OK, context! { told, section }),
        Ok(Done::Secret(secret)) => {
            (StatusCode::CREATED, context! { secret, section, typed => form.typed() })
        }
        Err(error) if error.code() == Code::InternalServerError => {
            return refused(request, error);
        }
        Err(error) if error.code() == Code::FreshProofRequired => {
            return confirm::page(request, form, &error).await;
        }
        Err(error) => {
            let faulty = &form.act;
            let fields = fields_of(faulty);
            let asks = fields.contains(&"current");
            let fault = if asks { message(request, &error) } else { request.message(&error) };
            let field = Some(field_of(&error)).filter(|field| fields.contains(field));
            let field = field.unwrap_or_default();
            let more = context! { fault, faulty, field, section, typed => form.typed() };
            let head = Head::of(&error);
            return head.onto(shown(request, head.status(), template, more, values).await);
        }
    };
    shown(request, status, template, more, values).await
}

fn refused(request: &PageRequest, error: Error) -> Response {
    let (title, text) = (request.text("admin-title"), request.message(&error));
    request.refusal_with(&title, &text, "admin", &error)
}

/// The fields of a form, beside which it is said what is wrong with them.
fn fields_of(act: &str) -> &'static [&'static str] {
    match act {
        "change" => &["scopes"],
        "end-sessions" | "revoke-all" => &["why"],
        "delete" => &["email"],
        "create-service" => &["name", "scopes"],
        "create-token" => &["username", "name", "days", "scopes", "current"],
        "revoke" => &["subject", "why"],
        _ => &[],
    }
}

/// The part of a page where it is said what came of a form; at the top where the page has no such part.
fn section_of(act: &str) -> &'static str {
    match act {
        "change" => "rights",
        "end-session" => "sessions",
        "end-sessions" | "reset-mail" | "delete" | "revoke-all" => "acts",
        "delete-token" => "tokens",
        "create-service" => "service",
        "delete-service" => "services",
        "create-token" => "token",
        "revoke" => "revoke",
        "explain" => "explain",
        _ => "",
    }
}

async fn shown(
    request: &PageRequest,
    status: StatusCode,
    template: &str,
    more: Value,
    values: impl Future<Output = Result<Value>>,
) -> Response {
    let typed = Filled::default().typed();
    let missing = context! { told => "", secret => "", next => "", typed };
    match values.await {
        Ok(values) => request.page(status, template, context! { ..more, ..values, ..missing }),
        Err(error) => refused(request, error),
    }
}

/// The query that leads to the rows after these.
fn next(after: Option<String>, filter: &[(&str, Option<&str>)]) -> String {
    let Some(after) = after else { return String::new() };
    let known = filter.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let pairs: Vec<_> = known.chain([("after", after.as_str())]).collect();
    serde_urlencoded::to_string(pairs).map(|query| format!("?{query}")).unwrap_or_default()
}

/// Why a session is ended by a button alone.
const BY_BUTTON: &str = "ended on the pages of the administration";

/// Why something is done, for those who read it later: one line.
fn why(text: Option<String>) -> Result<String> {
    let text = text.unwrap_or_default().trim().to_owned();
    if text.is_empty() || !is_line(&text, 256) {
        return Err(invalid("why", "why-wrong", "Say why, in one line of up to 256 characters"));
    }
    Ok(text)
}

/// The pages of the administration.
pub(crate) fn pages() -> Vec<PageRoute> {
    let overview = PageRoute::get("/admin", show_overview);
    let others = [people::pages(), records::pages(), system::pages(), tokens::pages()];
    std::iter::once(overview).chain(others.into_iter().flatten()).collect()
}

#[handler]
async fn show_overview(request: PageRequest) -> poem::Result<Response> {
    page(&request, "admin/overview.html", overview_values(&request)).await
}

async fn overview_values(request: &PageRequest) -> Result<Value> {
    let overview = overview(&request.app, DAYS).await?;
    let (replicas, _) = replica::list(&request.app).await?;
    let chart = |name: &str, adds_up: bool, of: fn(&Day) -> i64| {
        let most = overview.days.iter().map(of).max().unwrap_or_default();
        let bars: Vec<_> = overview
            .days
            .iter()
            .enumerate()
            .map(|(place, day)| {
                // Of a hundred units; what there is of at all is seen.
                let height = (of(day) * 100).div_euclid(most.max(1)).max(i64::from(of(day) > 0));
                context! { x => place * 10, y => 100 - height, height, day => day.began, count => of(day) }
            })
            .collect();
        context! { name, most, bars, sum => adds_up.then(|| overview.days.iter().map(of).sum::<i64>()) }
    };
    let charts = vec![
        chart("chart-registered", true, |day| day.registered),
        chart("chart-signed-in", true, |day| day.signed_in),
        chart("chart-refused", true, |day| day.refused),
        chart("chart-sessions", false, |day| day.sessions),
        chart("chart-tokens", false, |day| day.api_tokens),
    ];
    Ok(context! {
        users => overview.users,
        sessions => overview.sessions,
        api_tokens => overview.api_tokens,
        mails => overview.mails,
        replicas => replicas.len(),
        version => env!("CARGO_PKG_VERSION"),
        charts,
    })
}
