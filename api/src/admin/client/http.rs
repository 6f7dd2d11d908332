//! The operations `/admin/clients…` and `/admin/resources…`.

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::explained::{
    CheckClientsRequest, CheckResponse, ChecksResponse, RefusalResponse, RefusalsResponse,
};
use super::wire::{
    ClaimsResponse, ClientRequest, ClientResponse, ClientsResponse, DetailsResponse,
    DocumentRequest, NewClientResponse, NewSecretResponse, OutcomeResponse, ResourceRequest,
    ResourceResponse, ResourcesResponse, RotateRequest, SecretResponse,
};
use crate::access::caller::{Superuser, Viewer};
use crate::app::App;
use crate::base::error::{Code, Result};
use crate::http::Tag;
use crate::http::body::Body;
use crate::identity::service::{Principal, principal_named};
use crate::provider::authorization;
use crate::provider::client::claims::{self, Kind};
use crate::provider::client::recorded::{self, Selection};
use crate::provider::client::resource;
use crate::provider::client::{self, Client};

/// The refusals of operations that read.
const READS: &[Code] = &[Code::Unauthorized, Code::Forbidden, Code::UnprocessableContent];
/// The refusals of operations that read one client.
const READS_ONE: &[Code] = &[Code::Unauthorized, Code::Forbidden, Code::NotFound];
/// The refusals of operations that read one client with a query.
const READS_OF_ONE: &[Code] =
    &[Code::Unauthorized, Code::Forbidden, Code::NotFound, Code::UnprocessableContent];
/// The refusals of operations that create.
const CREATES: &[Code] = &[
    Code::Unauthorized,
    Code::Forbidden,
    Code::FreshProofRequired,
    Code::ClientAlreadyExists,
    Code::UnsupportedMediaType,
    Code::UnprocessableContent,
    Code::TooManyAttempts,
];
/// The refusals of operations that change.
const CHANGES: &[Code] = &[
    Code::Unauthorized,
    Code::Forbidden,
    Code::FreshProofRequired,
    Code::NotFound,
    Code::DeclaredInFile,
    Code::UnsupportedMediaType,
    Code::UnprocessableContent,
    Code::TooManyAttempts,
];
/// The refusals of operations that delete.
const DELETES: &[Code] = &[
    Code::Unauthorized,
    Code::Forbidden,
    Code::FreshProofRequired,
    Code::NotFound,
    Code::DeclaredInFile,
    Code::TooManyAttempts,
];

/// The errors of each operation, for the OpenAPI document.
pub(crate) const REFUSALS: &[(&str, &[Code])] = &[
    ("create_client", CREATES),
    ("list_clients", READS),
    ("read_client", READS_ONE),
    ("update_client", CHANGES),
    ("rotate_client_secret", CHANGES),
    ("delete_client", DELETES),
    ("preview_client_claims", READS_OF_ONE),
    (
        "apply_clients",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::ClientAlreadyExists,
            Code::ResourceAlreadyExists,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
        ],
    ),
    (
        "create_resource",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::FreshProofRequired,
            Code::ResourceAlreadyExists,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
            Code::TooManyAttempts,
        ],
    ),
    ("list_client_refusals", READS_ONE),
    (
        "check_authorization_request",
        &[
            Code::Unauthorized,
            Code::Forbidden,
            Code::UnsupportedMediaType,
            Code::UnprocessableContent,
        ],
    ),
    ("list_resources", READS),
    ("delete_resource", CHANGES),
];

#[derive(ApiResponse)]
enum CreatedClientResponse {
    /// The client.
    #[oai(status = 201)]
    Client(Json<NewClientResponse>),
}

#[derive(ApiResponse)]
enum CreatedSecretResponse {
    /// The secret.
    #[oai(status = 201)]
    Secret(Json<NewSecretResponse>),
}

#[derive(ApiResponse)]
enum CreatedResourceResponse {
    /// The resource.
    #[oai(status = 201)]
    Resource(Json<ResourceResponse>),
}

#[derive(ApiResponse)]
enum EmptyResponse {
    /// Done. All replicas apply it within a second. The response has no body.
    #[oai(status = 204)]
    NoContent,
}

async fn found(app: &App, client_id: &str) -> Result<Client> {
    let client = client::find(app, client_id).await?.ok_or(Code::NotFound)?;
    Ok((*client).clone())
}

fn issuer(app: &App) -> String {
    app.config.public_url.as_str().to_owned()
}

pub(crate) struct Api;

#[OpenApi(tag = "Tag::Admin")]
impl Api {
    /// Create a client
    ///
    /// Creates a client: an application that signs people in through Tessera. Returns it with its secret, which is shown
    /// this once. A public client has none.
    ///
    /// Requires the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/admin/clients", method = "post", operation_id = "create_client")]
    async fn create(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        body: Body<ClientRequest>,
    ) -> Result<CreatedClientResponse> {
        let (client, secret) = super::create(&app, &superuser, body.0).await?;
        Ok(CreatedClientResponse::Client(Json(NewClientResponse {
            client: client.try_into()?,
            client_secret: secret.map(|secret| secret.expose().to_owned()),
            issuer: issuer(&app),
        })))
    }

    /// List clients
    ///
    /// Returns the clients, ordered by `client_id`. Requires the scope `admin` or `super`.
    #[oai(path = "/admin/clients", method = "get", operation_id = "list_clients")]
    async fn list(
        &self,
        app: Data<&App>,
        _viewer: Viewer,
        /// The maximum number of items, from 1 to 100. Default: 20. Other values are replaced by the nearest of these.
        limit: Query<Option<u64>>,
        /// The pagination cursor: `next` of the previous page.
        after: Query<Option<String>>,
    ) -> Result<Json<ClientsResponse>> {
        let after = after.0.filter(|after| !after.contains('\0'));
        let clients = client::list(&app, after, limit.0.unwrap_or(20)).await?;
        let next = clients.next(|last| last.client_id.clone());
        let items = clients.items.into_iter().map(ClientResponse::try_from);
        Ok(Json(ClientsResponse { items: items.collect::<Result<_>>()?, next }))
    }

    /// Apply a document of clients
    ///
    /// Makes the declared clients and resources, changes those that differ, and disables those that left the document.
    /// `CLIENTS_FILE` and `tessera client apply` do the same. If the document has a fault, nothing changes. With `check`,
    /// the answer only says what would change.
    ///
    /// Requires the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/admin/clients-document", method = "post", operation_id = "apply_clients")]
    async fn apply(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        body: Body<DocumentRequest>,
    ) -> Result<Json<OutcomeResponse>> {
        let (document, check) = body.0;
        let outcome = super::apply(&app, &superuser, &document, check).await?;
        Ok(Json(OutcomeResponse::of(outcome, check)))
    }

    /// Read a client
    ///
    /// Returns a client with its secrets, which are shown only by their beginnings, and with the times of their last
    /// use. Requires the scope `admin` or `super`.
    #[oai(path = "/admin/clients/:client_id", method = "get", operation_id = "read_client")]
    async fn read(
        &self,
        app: Data<&App>,
        _viewer: Viewer,
        /// The `client_id`.
        client_id: Path<String>,
    ) -> Result<Json<DetailsResponse>> {
        let client = found(&app, &client_id).await?;
        let secrets = client::secrets(&app, &client).await?;
        let secrets = secrets.into_iter().map(SecretResponse::from).collect();
        Ok(Json(DetailsResponse { client: client.try_into()?, secrets, issuer: issuer(&app) }))
    }

    /// Change a client
    ///
    /// Changes the fields that the body contains. Requires the scope `super`, and for sessions a fresh token (otherwise
    /// 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/admin/clients/:client_id", method = "patch", operation_id = "update_client")]
    async fn update(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The `client_id`.
        client_id: Path<String>,
        body: Body<ClientRequest>,
    ) -> Result<Json<ClientResponse>> {
        let client = super::update(&app, &superuser, &client_id, body.0).await?;
        Ok(Json(client.try_into()?))
    }

    /// Rotate the secret of a client
    ///
    /// Gives a client another secret, which is shown this once. The previous secrets are accepted for `overlap` more
    /// seconds. Requires the scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(
        path = "/admin/clients/:client_id/secrets",
        method = "post",
        operation_id = "rotate_client_secret"
    )]
    async fn rotate(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The `client_id`.
        client_id: Path<String>,
        body: Body<RotateRequest>,
    ) -> Result<CreatedSecretResponse> {
        let (overlap, chosen) = body.0;
        let rotated = super::rotate_secret(&app, &superuser, &client_id, overlap, chosen).await?;
        let (secret, previous_until) = rotated;
        Ok(CreatedSecretResponse::Secret(Json(NewSecretResponse {
            client_id: client_id.0,
            client_secret: secret.expose().to_owned(),
            previous_until: previous_until.seconds(),
        })))
    }

    /// Delete a client
    ///
    /// Deletes a client. Nobody can sign in through it any more, and the tokens that it has are refused. Requires the
    /// scope `super`, and for sessions a fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/admin/clients/:client_id", method = "delete", operation_id = "delete_client")]
    async fn delete(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The `client_id`.
        client_id: Path<String>,
    ) -> Result<EmptyResponse> {
        super::delete(&app, &superuser, &client_id).await?;
        Ok(EmptyResponse::NoContent)
    }

    /// Preview the claims of a client
    ///
    /// Returns the claims about a user that a client gets with all its scopes. Requires the scope `admin` or `super`.
    #[oai(
        path = "/admin/clients/:client_id/claims",
        method = "get",
        operation_id = "preview_client_claims"
    )]
    async fn claims(
        &self,
        app: Data<&App>,
        _viewer: Viewer,
        /// The `client_id`.
        client_id: Path<String>,
        /// The address of the user.
        username: Query<String>,
    ) -> Result<Json<ClaimsResponse>> {
        let client = found(&app, &client_id).await?;
        let known = match username.contains('\0') {
            true => None,
            false => principal_named(&app, &username).await?,
        };
        let Some(Principal::User(user)) = known else { return Err(Code::NotFound.into()) };
        let claims = |kind| claims::for_token(&client, &user, &client.scopes, kind).into();
        Ok(Json(ClaimsResponse {
            id_token: claims(Kind::IdToken),
            userinfo: claims(Kind::Userinfo),
            access_token: claims(Kind::AccessToken),
        }))
    }

    /// List the refusals of clients
    ///
    /// Returns why requests of a client were refused, with the remedy, the latest first. Without a parameter, returns the
    /// refusals of unknown clients. Requires the scope `admin` or `super`.
    #[oai(path = "/admin/refusals", method = "get", operation_id = "list_client_refusals")]
    async fn refusals(
        &self,
        app: Data<&App>,
        _viewer: Viewer,
        /// The `client_id`.
        client_id: Query<Option<String>>,
        /// The reference that the page or the answer shows, or the id of the latest request that was refused.
        reference: Query<Option<String>>,
    ) -> Result<Json<RefusalsResponse>> {
        let records = match (&client_id.0, &reference.0) {
            (_, Some(reference)) => recorded::list(&app, Selection::Reference(reference)).await?,
            (Some(client_id), None) => {
                let client = found(&app, client_id).await?;
                recorded::list(&app, Selection::Client(&client)).await?
            }
            (None, None) => recorded::list(&app, Selection::Unknown).await?,
        };
        let items = records.items.into_iter().map(RefusalResponse::from).collect();
        Ok(Json(RefusalsResponse { items }))
    }

    /// Check an authorization request
    ///
    /// Runs all checks of the authorization endpoint for a URL, without effect and as if nobody was signed in. Returns
    /// each check with its refusal or its effect. Requires the scope `admin` or `super`.
    #[oai(
        path = "/admin/authorization-checks",
        method = "post",
        operation_id = "check_authorization_request"
    )]
    async fn check_request(
        &self,
        app: Data<&App>,
        _viewer: Viewer,
        body: Body<CheckClientsRequest>,
    ) -> Result<Json<ChecksResponse>> {
        let answers = authorization::explain(&app, &body.0).await?;
        let items = answers.into_iter().map(CheckResponse::from).collect();
        Ok(Json(ChecksResponse { items }))
    }

    /// Create a resource
    ///
    /// Creates a resource: an API that accepts access tokens of clients. Requires the scope `super`, and for sessions a
    /// fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/admin/resources", method = "post", operation_id = "create_resource")]
    async fn create_resource(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        body: Body<ResourceRequest>,
    ) -> Result<CreatedResourceResponse> {
        let made = super::create_resource(&app, &superuser, &body.0).await?;
        Ok(CreatedResourceResponse::Resource(Json(made.into())))
    }

    /// List resources
    ///
    /// Returns the resources, ordered by URI. Requires the scope `admin` or `super`.
    #[oai(path = "/admin/resources", method = "get", operation_id = "list_resources")]
    async fn list_resources(
        &self,
        app: Data<&App>,
        _viewer: Viewer,
        /// The maximum number of items, from 1 to 100. Default: 20. Other values are replaced by the nearest of these.
        limit: Query<Option<u64>>,
        /// The pagination cursor: `next` of the previous page.
        after: Query<Option<String>>,
    ) -> Result<Json<ResourcesResponse>> {
        let after = after.0.filter(|after| !after.contains('\0'));
        let resources = resource::list(&app, after, limit.0.unwrap_or(20)).await?;
        let next = resources.next(|last| last.uri.clone());
        let items = resources.items.into_iter().map(ResourceResponse::from).collect();
        Ok(Json(ResourcesResponse { items, next }))
    }

    /// Delete a resource
    ///
    /// Deletes a resource. Tokens for it stay valid until they expire. Requires the scope `super`, and for sessions a
    /// fresh token (otherwise 403 `FRESH_TOKEN_REQUIRED`).
    #[oai(path = "/admin/resources", method = "delete", operation_id = "delete_resource")]
    async fn delete_resource(
        &self,
        app: Data<&App>,
        superuser: Superuser,
        /// The URI of the resource.
        uri: Query<String>,
    ) -> Result<EmptyResponse> {
        super::delete_resource(&app, &superuser, &uri).await?;
        Ok(EmptyResponse::NoContent)
    }
}
