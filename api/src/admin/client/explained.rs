//! The wire types of refusals and of checks, which explain why a request of an application is refused.

use poem_openapi::Object;
use poem_openapi::types::Example;

use crate::http::body::{Accepts, Fields, Input};
use crate::provider::authorization::Answer;
use crate::provider::client::recorded::Record;

/// Refusals of one check, for one client and one value. Times are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "ClientRefusal", example)]
pub(super) struct RefusalResponse {
    /// The stable name of the check and of its outcome.
    name: String,
    /// The error code that the application got.
    error: String,
    /// The endpoint that refused.
    endpoint: String,
    /// The value that was expected.
    expected: Option<String>,
    /// The value that came.
    came: Option<String>,
    /// The next step: a sentence or a command.
    remedy: String,
    /// The reference that the page or the answer shows. Equal refusals have the same one.
    reference: String,
    /// The id of the latest request that was refused.
    request: String,
    /// The number of refusals.
    count: u64,
    /// The time of the first refusal.
    first: u64,
    /// The time of the last refusal.
    last: u64,
}

impl Example for RefusalResponse {
    fn example() -> Self {
        Self {
            name: "client_secret.retired".to_owned(),
            error: "invalid_client".to_owned(),
            endpoint: "token".to_owned(),
            expected: None,
            came: Some("a secret that retired on 3 May 2026, 09:12 UTC".to_owned()),
            remedy: "tessera client rotate-secret grafana".to_owned(),
            reference: "9c56cc51b374c3ba".to_owned(),
            request: "5b0d5b3e-1d1a-4b0e-8f60-3c8e2f6f0f1d".to_owned(),
            count: 12,
            first: 1_795_306_672,
            last: 1_795_310_272,
        }
    }
}

impl From<Record> for RefusalResponse {
    fn from(record: Record) -> Self {
        Self {
            name: record.name,
            error: record.error,
            endpoint: record.endpoint,
            expected: record.expected,
            came: record.came,
            remedy: record.remedy,
            reference: record.reference,
            request: record.request,
            count: record.count,
            first: record.first.seconds(),
            last: record.last.seconds(),
        }
    }
}

/// The latest refusals.
#[derive(Object)]
#[oai(rename = "ClientRefusals", example)]
pub(super) struct RefusalsResponse {
    /// The refusals, the latest first.
    pub(super) items: Vec<RefusalResponse>,
}

impl Example for RefusalsResponse {
    fn example() -> Self {
        Self { items: vec![RefusalResponse::example()] }
    }
}

/// A URL of the authorization endpoint.
#[derive(Object)]
#[oai(example)]
pub(super) struct CheckClientsRequest {
    /// The URL that the application sends browsers to, or its query.
    url: String,
}

impl Example for CheckClientsRequest {
    fn example() -> Self {
        let url = "https://id.example.com/oauth2/authorize?client_id=grafana&response_type=code";
        Self { url: url.to_owned() }
    }
}

impl Input for CheckClientsRequest {
    type Parsed = String;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        fields.required("url")
    }
}

/// A check of an authorization request.
#[derive(Object)]
#[oai(rename = "AuthorizationCheck", example, skip_serializing_if_is_none)]
pub(super) struct CheckResponse {
    /// The name of the check.
    check: String,
    /// `true` if the request passes it.
    passes: bool,
    /// The effect of the check on the request, such as scopes that are dropped.
    effect: Option<String>,
    /// The stable name of the refusal.
    refusal: Option<String>,
    /// The sentence of the refusal.
    sentence: Option<String>,
    /// The value that was expected.
    expected: Option<String>,
    /// The value that came.
    came: Option<String>,
    /// The next step: a sentence or a command.
    remedy: Option<String>,
}

impl Example for CheckResponse {
    fn example() -> Self {
        Self {
            check: "client".to_owned(),
            passes: true,
            effect: None,
            refusal: None,
            sentence: None,
            expected: None,
            came: None,
            remedy: None,
        }
    }
}

impl From<Answer> for CheckResponse {
    fn from(answer: Answer) -> Self {
        let Answer { check, refusal, effect } = answer;
        let passes = refusal.is_none();
        let (name, sentence, remedy) = match &refusal {
            Some(refusal) => {
                let name = refusal.name.to_owned();
                (Some(name), Some(refusal.sentence.to_string()), Some(refusal.remedy.to_string()))
            }
            None => (None, None, None),
        };
        let (expected, came) =
            refusal.map_or((None, None), |refusal| (refusal.expected, refusal.came));
        let (expected, came) = (expected.map(String::from), came.map(String::from));
        Self {
            check: check.to_owned(),
            passes,
            effect,
            refusal: name,
            sentence,
            expected,
            came,
            remedy,
        }
    }
}

/// The checks of an authorization request, in their order.
#[derive(Object)]
#[oai(rename = "AuthorizationChecks", example)]
pub(super) struct ChecksResponse {
    /// The checks. Those that need a client are left out if it is not known.
    pub(super) items: Vec<CheckResponse>,
}

impl Example for ChecksResponse {
    fn example() -> Self {
        Self { items: vec![CheckResponse::example()] }
    }
}
