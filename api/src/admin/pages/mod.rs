//! The pages of the administration. Users with the scope `admin` can see them, and superusers can act on them.

mod apps;
mod confirm;
mod events;
mod form;
mod newcomers;
mod people;
mod records;
mod system;
mod tokens;

use std::net::IpAddr;
use std::sync::Arc;

use minijinja::{Value, context};
use poem::http::StatusCode;
use poem::{Response, handler};
use serde::Deserialize;

use crate::access::caller::page::PageRequest;
use crate::access::caller::{Caller, Superuser};
use crate::access::session::browser::{self, SignedIn};
use crate::admin::overview::{Day, overview};
use crate::base::error::page::Head;
use crate::base::error::{Code, Error, Result};
use crate::base::scope::Scope;
use crate::http::form::FilledForm;
use crate::http::paths::PageRoute;
use crate::http::peer::PeerAddress;
use crate::identity::factor::Password;
use crate::identity::factor::password_check::{self, Account};
use crate::identity::user;
use crate::platform::replica;
use crate::self_service::account::pages::message;
use crate::self_service::account::ways;

/// The number of rows on a page.
const ROWS: u64 = 50;

/// The number of days that the charts show.
const DAYS: u16 = 30;

/// The number that fills a chart at least. Otherwise a single sign-in would look like many.
const FEW: i64 = 4;

/// The result of a form that was not refused.
enum Outcome {
    /// Success: the name of the text that says so.
    Flash(&'static str),
    /// A new API token: its secret, which is shown once.
    Secret(String),
    /// The answer to a question, which is not translated.
    Answer(String),
}

/// The query of a list: the row after which it begins.
#[derive(Debug, Clone, Deserialize)]
struct RowsQuery {
    after: Option<String>,
}

impl RowsQuery {
    /// The query as text, with which forms lead back to the same rows.
    fn query(&self) -> String {
        next(self.after.clone(), &[])
    }
}

/// A user who sends a form of these pages and has the permission to.
struct Administrator<'a> {
    request: &'a PageRequest,
    signed_in: SignedIn,
    caller: Caller,
}

impl<'a> Administrator<'a> {
    /// Checks the user's scope, and the password if the form came from the page that asks for it.
    async fn of(
        request: &'a mut PageRequest,
        scope: &'static str,
        form: &FilledForm,
        proof: Option<String>,
        peer: &PeerAddress,
    ) -> poem::Result<Self> {
        let mut signed_in = request.allowed(scope)?;
        // Read from the table, so that a user who was demoted on another replica a moment ago cannot act.
        let user = user::by_id(&request.app.database, signed_in.user.id).await?;
        let user = user.map(|known| known.user).filter(|user| user.is_active);
        let user = user.filter(|user| user.scopes().contains(scope) || user.is_superuser);
        let refusal = || request.refusal(&request.text("not-allowed"), Code::Forbidden.into());
        signed_in.user = Arc::new(user.ok_or_else(|| poem::Error::from_response(refusal()))?);
        let authentication = match proof {
            Some(proof) => {
                let proved = confirm::prove(request, &signed_in, form, proof, peer.0).await;
                Some(proved.map_err(poem::Error::from_response)?)
            }
            // The user proved a moment ago who they are, with the password or at their provider.
            None => {
                let recent = browser::standing_proof(&request.app, &signed_in).await;
                recent.map_err(|error| poem::Error::from_response(refused(request, error)))?
            }
        };
        let caller = Caller::browser(&signed_in, authentication);
        Ok(Self { request, signed_in, caller })
    }

    /// The caller as a superuser.
    fn superuser(&self) -> Result<Superuser> {
        self.caller.clone().try_into()
    }

    /// Returns the caller of a form that has a field for the password. A user without a password must have proved a moment
    /// ago who they are.
    async fn proved(&self, current: String, ip: Option<IpAddr>) -> Result<Caller> {
        if current.is_empty() {
            self.caller.require_fresh(&self.request.app)?;
            return Ok(self.caller.clone());
        }
        let (app, account) = (&self.request.app, Account::User(self.signed_in.user.id));
        let proof = password_check::prove(app, account, Password::new(current), ip).await?;
        Ok(Caller::browser(&self.signed_in, Some(proof)))
    }
}

/// A page for users with the scope `admin`.
async fn page(
    request: &PageRequest,
    template: &str,
    values: impl Future<Output = Result<Value>>,
) -> poem::Result<Response> {
    request.allowed(Scope::ADMIN)?;
    Ok(shown(request, StatusCode::OK, template, context! {}, values).await)
}

/// The answer to a form: a redirect to its page, or the page with the result.
async fn after(
    request: &PageRequest,
    form: &FilledForm,
    outcome: Result<Outcome>,
    template: &str,
    values: impl Future<Output = Result<Value>>,
) -> Response {
    let section = form.placement.section;
    let (status, more) = match outcome {
        Ok(Outcome::Flash(name)) => {
            return match request.is_still_signed_in().await {
                Ok(true) => request.redirect_with_flash(request.place(), section, name),
                Ok(false) => request.redirect_to_login(Some("signed-out-by-it")),
                Err(error) => refused(request, error),
            };
        }
        Ok(Outcome::Answer(told)) => (StatusCode::OK, context! { told, section }),
        Ok(Outcome::Secret(secret)) => {
            (StatusCode::CREATED, context! { secret, section, typed => form.typed() })
        }
        Err(error) if error.code() == Code::InternalServerError => {
            return refused(request, error);
        }
        Err(error) if error.code() == Code::FreshProofRequired => {
            return confirm::page(request, form, &error).await;
        }
        Err(error) => {
            let asks = form.has_field("current");
            let fault = if asks { message(request, &error) } else { request.message(&error) };
            let (faulty, field) = (form.placement.act, form.faulty_field(&error));
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

async fn shown(
    request: &PageRequest,
    status: StatusCode,
    template: &str,
    more: Value,
    values: impl Future<Output = Result<Value>>,
) -> Response {
    let missing = context! { told => "", secret => "", next => "", typed => "" };
    match values.await {
        Ok(values) => request.page(status, template, context! { ..more, ..values, ..missing }),
        Err(error) => refused(request, error),
    }
}

/// The values for forms that ask for a proof: its kind, and the providers that can give it.
async fn proof(request: &PageRequest) -> Result<Value> {
    match &request.signed_in {
        Some(signed_in) => ways::values(&request.app, signed_in).await,
        None => Ok(context! {}),
    }
}

/// The query of the link to the next rows.
fn next(after: Option<String>, filter: &[(&str, Option<&str>)]) -> String {
    let Some(after) = after else { return String::new() };
    let known = filter.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let pairs: Vec<_> = known.chain([("after", after.as_str())]).collect();
    serde_urlencoded::to_string(pairs).map(|query| format!("?{query}")).unwrap_or_default()
}

/// The pages of the administration.
pub(crate) fn pages() -> Vec<PageRoute> {
    let overview = PageRoute::get("/admin", show_overview);
    let others = [
        apps::pages(),
        events::pages(),
        newcomers::pages(),
        people::pages(),
        records::pages(),
        system::pages(),
        tokens::pages(),
    ];
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
        let max = overview.days.iter().map(of).max().unwrap_or_default();
        let bars: Vec<_> = overview
            .days
            .iter()
            .enumerate()
            .map(|(place, day)| {
                // The height in percent of the highest bar. A number above zero is always visible.
                let height = (of(day) * 100).div_euclid(max.max(FEW)).max(i64::from(of(day) > 0));
                context! { x => place * 10, y => 100 - height, height, day => day.began, count => of(day) }
            })
            .collect();
        context! { name, most => max, bars, sum => adds_up.then(|| overview.days.iter().map(of).sum::<i64>()) }
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
