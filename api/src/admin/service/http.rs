//! `/admin/services`

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::access::caller::Superuser;
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::base::scope::Scopes;
use crate::http::Tag;
use crate::http::body::{Accepts, Body, Fields, Input};
use crate::identity::service::{self, Service, ServiceName};

/// The refusals of each operation, for the documents.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    (
        "create_service",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::ServiceAlreadyExists,
            Code::ApiTokenInvalidScopes,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
        ],
    ),
    ("list_services", &[Code::Unauthorized, Code::Forbidden, Code::UnprocessableContent]),
    (
        "delete_service",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::NotFound,
            Code::TooManyAttempts,
        ],
    ),
];

/// A service that is to be.
#[derive(Object)]
#[oai(example)]
struct ServiceRequest {
    /// Its name: up to 64 of a-z, 0-9, `-`, `_` and `.`, a letter or a digit first.
    name: String,
    /// What its tokens may do at most.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
}

impl Example for ServiceRequest {
    fn example() -> Self {
        Self { name: "billing".to_owned(), scopes: Some(vec!["tokens:introspect".to_owned()]) }
    }
}

impl Input for ServiceRequest {
    type Parsed = (ServiceName, Scopes);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let name = fields.required("name").and_then(|text| fields.parsed("name", &text));
        let scopes = fields.scopes("scopes");
        Some((name?, scopes?.unwrap_or_default()))
    }
}

/// A service: a program that acts for itself, by API tokens alone.
#[derive(Object)]
#[oai(rename = "Service", example)]
struct ServiceResponse {
    /// Its id.
    id: String,
    /// Its name: the `username` of its tokens.
    name: String,
    /// What its tokens may do at most.
    scopes: Vec<String>,
    /// Whether its tokens are accepted.
    is_active: bool,
    /// When it was made, in seconds since the epoch.
    created: u64,
}

impl Example for ServiceResponse {
    fn example() -> Self {
        Self {
            id: "c1f2a1de-7f0a-4f43-8b3b-9f4f2b1f6f7d".to_owned(),
            name: "billing".to_owned(),
            scopes: vec!["tokens:introspect".to_owned()],
            is_active: true,
            created: 1_795_306_672,
        }
    }
}

impl From<Service> for ServiceResponse {
    fn from(service: Service) -> Self {
        let Service { id, name, scopes, is_active, created } = service;
        Self { id: id.to_string(), name, scopes: scopes.words(), is_active, created }
    }
}

/// Some services.
#[derive(Object)]
#[oai(rename = "Services", example)]
struct ServicesResponse {
    /// By name.
    items: Vec<ServiceResponse>,
    /// What to give as `after` for more; null when there are none.
    next: Option<String>,
}

impl Example for ServicesResponse {
    fn example() -> Self {
        Self { items: vec![ServiceResponse::example()], next: None }
    }
}

#[derive(ApiResponse)]
enum CreatedResponse {
    /// The service.
    #[oai(status = 201)]
    Service(Json<ServiceResponse>),
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done, on every replica within a second.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// Make a service
    ///
    /// A program that acts for itself: without password or address, by API tokens alone, which
    /// `POST /auth/tokens` makes with its name as `username`. A session requires that its password was given a short
    /// time ago.
    #[oai(path = "/admin/services", method = "post", operation_id = "create_service")]
    async fn create(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        body: Body<ServiceRequest>,
    ) -> Result<CreatedResponse> {
        let (name, scopes) = body.0;
        let made = super::create(&app, &superuser, name, scopes).await?;
        Ok(CreatedResponse::Service(Json(made.into())))
    }

    /// Which services there are
    #[oai(path = "/admin/services", method = "get", operation_id = "list_services")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// At most so many, 20 if not given; less than 1 is taken for 1, more than 100 for 100.
        limit: Query<Option<u64>>,
        /// The `next` of the page before.
        after: Query<Option<String>>,
    ) -> Result<Json<ServicesResponse>> {
        let after = after.0.filter(|after| !after.contains('\0'));
        let services = service::list(&app, after, limit.0.unwrap_or(20)).await?;
        let next = services.next(|last| last.name.clone());
        let items = services.items.into_iter().map(ServiceResponse::from).collect();
        Ok(Json(ServicesResponse { items, next }))
    }

    /// Delete a service
    ///
    /// With its tokens, which are accepted nowhere any more. A session requires that its password was given a short
    /// time ago.
    #[oai(path = "/admin/services/:name", method = "delete", operation_id = "delete_service")]
    async fn delete(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// Its name.
        name: Path<String>,
    ) -> Result<EmptyResponse> {
        super::delete(&app, &superuser, &name).await?;
        Ok(EmptyResponse::NoContent)
    }
}
