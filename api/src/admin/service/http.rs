//! The operations `/admin/services…`.

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

/// The errors of each operation, for the OpenAPI document.
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

/// A service to create.
#[derive(Object)]
#[oai(example)]
struct ServiceRequest {
    /// The name: up to 64 characters of `a-z`, `0-9`, `-`, `_` and `.`. It begins with a letter or digit.
    name: String,
    /// The scopes that its API tokens can have. Default: none.
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

/// A service: an account for a program, which acts only with API tokens.
#[derive(Object)]
#[oai(rename = "Service", example)]
struct ServiceResponse {
    /// The id of the service.
    id: String,
    /// The name of the service, which is the `username` of its API tokens.
    name: String,
    /// The scopes that its API tokens can have.
    scopes: Vec<String>,
    /// `true` if its API tokens are accepted.
    is_active: bool,
    /// The time of creation, in seconds since the epoch.
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

/// A page of services.
#[derive(Object)]
#[oai(rename = "Services", example)]
struct ServicesResponse {
    /// The services, ordered by name.
    items: Vec<ServiceResponse>,
    /// The pagination cursor: send it as `after` to get the next page. `null` on the last page.
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
    /// Done. All replicas apply it within a second. The response has no body.
    #[oai(status = 204)]
    NoContent,
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// Create a service
    ///
    /// Creates an account for a program. It has no password and no e-mail address, and acts only with API tokens. To
    /// create such a token, send the name of the service as `username` to `POST /auth/tokens`.
    ///
    /// Requires the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
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

    /// List services
    ///
    /// Returns the services, ordered by name. Requires the scope `super`.
    #[oai(path = "/admin/services", method = "get", operation_id = "list_services")]
    async fn list(
        &self,
        app: Data<&App>,
        _superuser: Superuser,
        /// The maximum number of items, from 1 to 100. Default: 20. Other values are replaced by the nearest of these.
        limit: Query<Option<u64>>,
        /// The pagination cursor: `next` of the previous page.
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
    /// Deletes a service with its API tokens, which are not accepted any more. Requires the scope `super`, and for
    /// sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/admin/services/:name", method = "delete", operation_id = "delete_service")]
    async fn delete(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The name of the service.
        name: Path<String>,
    ) -> Result<EmptyResponse> {
        super::delete(&app, &superuser, &name).await?;
        Ok(EmptyResponse::NoContent)
    }
}
