//! The operations `/admin/upstreams…`.

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::recorded::{self, Record};
use super::report::{self, Finding};
use super::{Upstream, all, find};
use crate::access::caller::{Superuser, Viewer};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("list_upstreams", &[Code::Unauthorized, Code::Forbidden, Code::InsufficientScope]),
    (
        "check_upstream",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::InsufficientScope,
            Code::NotFound,
            Code::TooManyAttempts,
        ],
    ),
    ("list_upstream_refusals", &[Code::Unauthorized, Code::Forbidden, Code::InsufficientScope]),
];

/// A provider.
#[derive(Object)]
#[oai(rename = "Upstream", example)]
struct UpstreamResponse {
    /// The name in URLs and tables.
    name: String,
    /// The name that people read.
    label: String,
    /// The preset.
    preset: String,
    /// The issuer.
    issuer: String,
    /// The redirect URI to register there.
    redirect_uri: String,
    /// The domains whose addresses are believed.
    domains: Vec<String>,
    /// `true` if people with an address of its domains sign in there alone.
    exclusive: bool,
    /// `true` if it makes accounts.
    register: bool,
}

impl Example for UpstreamResponse {
    fn example() -> Self {
        Self {
            name: "corp".to_owned(),
            label: "Corp".to_owned(),
            preset: "keycloak".to_owned(),
            issuer: "https://sso.example.com/realms/staff".to_owned(),
            redirect_uri: "https://id.example.com/login/with/corp/callback".to_owned(),
            domains: vec!["example.com".to_owned()],
            exclusive: false,
            register: true,
        }
    }
}

impl UpstreamResponse {
    fn of(app: &App, upstream: &Upstream) -> Self {
        let settings = &upstream.settings;
        Self {
            name: settings.name.clone(),
            label: settings.label.clone(),
            preset: settings.preset.name().to_owned(),
            issuer: settings.issuer.clone(),
            redirect_uri: upstream.redirect_uri(app),
            domains: settings.domains.clone(),
            exclusive: settings.is_exclusive,
            register: settings.registers,
        }
    }
}

/// The providers.
#[derive(Object)]
#[oai(example)]
struct UpstreamList {
    /// The providers, in the order of `UPSTREAMS_FILE`.
    items: Vec<UpstreamResponse>,
}

impl Example for UpstreamList {
    fn example() -> Self {
        Self { items: vec![UpstreamResponse::example()] }
    }
}

/// A part of a provider, as it was found.
#[derive(Object)]
#[oai(example)]
struct UpstreamFinding {
    /// The part, such as `discovery`.
    part: String,
    /// `true` if it works.
    works: bool,
    /// The value that was found, or the name of the refusal.
    text: String,
    /// The value that was expected.
    #[oai(skip_serializing_if_is_none)]
    expected: Option<String>,
    /// The value that came.
    #[oai(skip_serializing_if_is_none)]
    came: Option<String>,
    /// The next step.
    #[oai(skip_serializing_if_is_none)]
    remedy: Option<String>,
}

impl Example for UpstreamFinding {
    fn example() -> Self {
        Self {
            part: "discovery".to_owned(),
            works: true,
            text: "https://sso.example.com/realms/staff".to_owned(),
            expected: None,
            came: None,
            remedy: None,
        }
    }
}

impl From<Finding> for UpstreamFinding {
    fn from(found: Finding) -> Self {
        let Finding { part, text, refusal } = found;
        let works = refusal.is_none();
        let (expected, came, remedy) = match refusal {
            Some(refusal) => (refusal.expected, refusal.came, Some(refusal.remedy)),
            None => (None, None, None),
        };
        let [expected, came, remedy] = [expected, came, remedy].map(|text| text.map(String::from));
        Self { part: part.to_owned(), works, text, expected, came, remedy }
    }
}

/// The report about a provider.
#[derive(Object)]
#[oai(example)]
struct UpstreamReport {
    /// The parts.
    items: Vec<UpstreamFinding>,
}

impl Example for UpstreamReport {
    fn example() -> Self {
        Self { items: vec![UpstreamFinding::example()] }
    }
}

/// A refused sign-in with a provider.
#[derive(Object)]
#[oai(example)]
struct UpstreamRefusal {
    /// The id of the request, which the page showed.
    reference: String,
    /// The name of the provider; empty if the request came from a browser that began nothing.
    upstream: String,
    /// The stable name of the check.
    name: String,
    /// The sentence that the person read.
    sentence: String,
    /// The value that was expected.
    #[oai(skip_serializing_if_is_none)]
    expected: Option<String>,
    /// The value that came.
    #[oai(skip_serializing_if_is_none)]
    came: Option<String>,
    /// The next step.
    remedy: String,
    /// The time, in seconds since the epoch.
    at: u64,
}

impl Example for UpstreamRefusal {
    fn example() -> Self {
        Self {
            reference: "b507699e-dabd-4aa0-8888-7ac8477597c3".to_owned(),
            upstream: "corp".to_owned(),
            name: "state.expired".to_owned(),
            sentence: "The sign-in began too long ago. Begin it again.".to_owned(),
            expected: None,
            came: None,
            remedy: "The person begins again.".to_owned(),
            at: 1_795_000_000,
        }
    }
}

impl From<Record> for UpstreamRefusal {
    fn from(record: Record) -> Self {
        let Record { reference, upstream, name, sentence, expected, came, remedy, at } = record;
        let at = at.seconds();
        Self { reference, upstream, name, sentence, expected, came, remedy, at }
    }
}

/// The latest refusals.
#[derive(Object)]
#[oai(example)]
struct UpstreamRefusalList {
    /// The refusals, the latest first.
    items: Vec<UpstreamRefusal>,
}

impl Example for UpstreamRefusalList {
    fn example() -> Self {
        Self { items: vec![UpstreamRefusal::example()] }
    }
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// List the providers with which people sign in
    ///
    /// Lists the entries of `UPSTREAMS_FILE`, without secrets. Requires the scope `admin` or `super`.
    #[oai(path = "/admin/upstreams", method = "get", operation_id = "list_upstreams")]
    async fn list(&self, app: Data<&App>, _viewer: Viewer) -> Result<Json<UpstreamList>> {
        let items = all(&app).iter().map(|upstream| UpstreamResponse::of(&app, upstream));
        Ok(Json(UpstreamList { items: items.collect() }))
    }

    /// Check a provider
    ///
    /// Reads the discovery document and the keys of a provider, and says what is wrong and what to do. Requires the
    /// scope `super`.
    #[oai(path = "/admin/upstreams/:name/check", method = "post", operation_id = "check_upstream")]
    async fn check(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The name of the provider.
        name: Path<String>,
    ) -> Result<Json<UpstreamReport>> {
        superuser.count_act(&app)?;
        let upstream = find(&app, &name).ok_or(Code::NotFound)?;
        let found = report::of(&app, &upstream).await;
        Ok(Json(UpstreamReport { items: found.into_iter().map(Into::into).collect() }))
    }

    /// List refused sign-ins with providers
    ///
    /// Lists the latest 100 refusals, or the one whose page showed a reference. Requires the scope `admin` or `super`.
    #[oai(
        path = "/admin/upstream-refusals",
        method = "get",
        operation_id = "list_upstream_refusals"
    )]
    async fn refusals(
        &self,
        app: Data<&App>,
        _viewer: Viewer,
        /// The reference that a page showed.
        reference: Query<Option<String>>,
    ) -> Result<Json<UpstreamRefusalList>> {
        let items = recorded::list(&app, reference.as_deref()).await?;
        Ok(Json(UpstreamRefusalList { items: items.into_iter().map(Into::into).collect() }))
    }
}
