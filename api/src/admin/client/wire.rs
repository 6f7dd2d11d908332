//! The bodies of the operations `/admin/clients…` and `/admin/resources…`.

use poem_openapi::Object;
use poem_openapi::types::Example;
use serde_json::{Value, json};

use super::{Change, Outcome};
use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error, Result};
use crate::http::body::{Accepts, Fields, Input};
use crate::provider::client::definition::{Definition, Fault};
use crate::provider::client::document::{Misfit, Step};
use crate::provider::client::redirect::RedirectUri;
use crate::provider::client::resource::{self, Resource};
use crate::provider::client::{Client, ClientSecret, StoredSecret};

/// The definition of a client. In a change, fields that are missing stay as they are.
#[derive(Default, Object)]
#[oai(example, skip_serializing_if_is_none)]
pub(super) struct ClientRequest {
    /// The `client_id`: up to 64 characters of `a-z`, `0-9`, `-`, `_` and `.`. It cannot be changed.
    client_id: Option<String>,
    /// The name that people see. Default: the `client_id`.
    name: Option<String>,
    /// `web` (default) or `native`.
    application_type: Option<String>,
    /// `client_secret` (default: by HTTP Basic or in the body), `client_secret_basic`, `client_secret_post` or `none`
    /// (a public client).
    auth_method: Option<String>,
    /// The redirect URIs, which are compared byte for byte.
    redirect_uris: Option<Vec<String>>,
    /// The URIs that a browser can go to after signing out.
    post_logout_uris: Option<Vec<String>>,
    /// `authorization_code`, `refresh_token` (both by default), `client_credentials`.
    grant_types: Option<Vec<String>>,
    /// The scopes that it can ask for. Default: `openid`, `profile`, `email`, `groups`, `offline_access`.
    scopes: Option<Vec<String>>,
    /// `false` to refuse the client.
    enabled: Option<bool>,
    /// A secret of at least 32 characters, instead of one that Tessera makes. Only when a client is created.
    secret: Option<String>,
    /// `true` to ask nobody for consent.
    trusted: Option<bool>,
    /// `required` (default) or `optional`.
    pkce: Option<String>,
    /// The scopes of which a user needs one to sign in.
    only: Option<Vec<String>>,
    /// `true` if only users with a verified address can sign in.
    verified_email: Option<bool>,
    /// `RS256` (default), `ES256` or `EdDSA`.
    id_token_alg: Option<String>,
    /// `RS256` (default), `ES256` or `EdDSA`.
    access_token_alg: Option<String>,
    /// The lifetime of ID tokens: 60 to 86400 seconds. Default: 900.
    id_token_expires: Option<u64>,
    /// The lifetime of access tokens: 60 to 86400 seconds. Default: 900.
    access_token_expires: Option<u64>,
    /// `all` (default) or `minimal`: the claims of scopes that ID tokens contain.
    id_token_claims: Option<String>,
    /// The `aud` of access tokens if a request names no resource. Default: the issuer.
    audience: Option<Vec<String>>,
    /// The resources that it can ask for.
    resources: Option<Vec<String>>,
    /// The resources that it is the API of.
    serves: Option<Vec<String>>,
    /// `own` (default), `served` or `any`: the tokens that it can introspect.
    introspects: Option<String>,
    /// `true` to allow plain HTTP to other machines in redirect URIs.
    insecure_http: Option<bool>,
    /// Claims of ID tokens and userinfo, with their sources.
    claims: Option<Value>,
    /// Claims of access tokens, with their sources.
    access_token_claims: Option<Value>,
}

impl Example for ClientRequest {
    fn example() -> Self {
        Self {
            client_id: Some("grafana".to_owned()),
            name: Some("Grafana".to_owned()),
            redirect_uris: Some(vec!["https://grafana.example.com/login/generic_oauth".to_owned()]),
            trusted: Some(true),
            claims: Some(json!({ "role": "has(admin)" })),
            ..Self::default()
        }
    }
}

impl Input for ClientRequest {
    type Parsed = Definition;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        match Definition::read(&fields.members()) {
            Ok(definition) => Some(definition),
            Err(faults) => {
                for Fault { field, sentence, .. } in faults {
                    fields.problem::<()>("value_error", &field, &sentence);
                }
                None
            }
        }
    }
}

/// A secret of a client, without the secret itself. Times are seconds since the epoch.
#[derive(Object)]
#[oai(rename = "ClientSecret", example)]
pub(super) struct SecretResponse {
    /// The beginning of the secret.
    prefix: String,
    /// The time when it was made.
    created: u64,
    /// The time from which it is refused, if it was replaced.
    expires: Option<u64>,
    /// The time of its last use, to the minute.
    last_used: Option<u64>,
}

impl Example for SecretResponse {
    fn example() -> Self {
        let prefix = "tsr_cs_7hQ2".to_owned();
        Self { prefix, created: 1_795_306_672, expires: None, last_used: Some(1_795_310_272) }
    }
}

impl From<(String, StoredSecret)> for SecretResponse {
    fn from((prefix, secret): (String, StoredSecret)) -> Self {
        let StoredSecret { id: _, client: _, created, expires, last_used } = secret;
        let seconds = Timestamp::seconds;
        let (expires, last_used) = (expires.map(seconds), last_used.map(seconds));
        Self { prefix, created: created.seconds(), expires, last_used }
    }
}

/// A client: an application that signs people in through Tessera.
#[derive(Object)]
#[oai(rename = "Client", example)]
pub(super) struct ClientResponse {
    /// The `client_id`.
    client_id: String,
    /// The name that people see.
    name: String,
    /// `operator`, or `file` if `CLIENTS_FILE` or `CLIENTS` declares it.
    origin: String,
    /// `web` or `native`.
    application_type: String,
    /// `client_secret`, `client_secret_basic`, `client_secret_post` or `none`.
    auth_method: String,
    /// The redirect URIs.
    redirect_uris: Vec<String>,
    /// The URIs that a browser can go to after signing out.
    post_logout_uris: Vec<String>,
    /// The grant types.
    grant_types: Vec<String>,
    /// The scopes that it can ask for.
    scopes: Vec<String>,
    /// `false` if it is refused.
    enabled: bool,
    /// The settings: the members of the definition that are not listed here.
    settings: Value,
    /// The time of creation, in seconds since the epoch.
    created: u64,
    /// The time of the last change, in seconds since the epoch.
    updated: u64,
}

impl Example for ClientResponse {
    fn example() -> Self {
        Self {
            client_id: "grafana".to_owned(),
            name: "Grafana".to_owned(),
            origin: "operator".to_owned(),
            application_type: "web".to_owned(),
            auth_method: "client_secret".to_owned(),
            redirect_uris: vec!["https://grafana.example.com/login/generic_oauth".to_owned()],
            post_logout_uris: Vec::new(),
            grant_types: vec!["authorization_code".to_owned(), "refresh_token".to_owned()],
            scopes: vec!["email".to_owned(), "openid".to_owned()],
            enabled: true,
            settings: json!({ "trusted": true, "pkce": "required" }),
            created: 1_795_306_672,
            updated: 1_795_306_672,
        }
    }
}

impl TryFrom<Client> for ClientResponse {
    type Error = Error;

    fn try_from(client: Client) -> Result<Self> {
        let Client {
            id: _,
            client_id,
            name,
            origin,
            application_type,
            auth_method,
            redirect_uris,
            post_logout_uris,
            grant_types,
            scopes,
            settings,
            own_grant: _,
            is_active,
            created,
            updated,
        } = client;
        let word = |word: &'static str| word.to_owned();
        let texts =
            |uris: Vec<RedirectUri>| uris.iter().map(|uri| uri.as_str().to_owned()).collect();
        let settings = serde_json::to_value(settings);
        Ok(Self {
            client_id,
            name,
            origin: word(origin.into()),
            application_type: word(application_type.into()),
            auth_method: word(auth_method.into()),
            redirect_uris: texts(redirect_uris),
            post_logout_uris: texts(post_logout_uris),
            grant_types: grant_types.into_iter().map(|kind| word(kind.into())).collect(),
            scopes: scopes.words(),
            enabled: is_active,
            settings: settings.map_err(|error| Error::because(Code::InternalServerError, error))?,
            created: created.seconds(),
            updated: updated.seconds(),
        })
    }
}

/// A page of clients.
#[derive(Object)]
#[oai(rename = "Clients", example)]
pub(super) struct ClientsResponse {
    /// The clients, ordered by `client_id`.
    pub(super) items: Vec<ClientResponse>,
    /// The pagination cursor: send it as `after` to get the next page. `null` on the last page.
    pub(super) next: Option<String>,
}

impl Example for ClientsResponse {
    fn example() -> Self {
        Self { items: vec![ClientResponse::example()], next: None }
    }
}

/// A client with its secrets.
#[derive(Object)]
#[oai(rename = "ClientDetails", example)]
pub(super) struct DetailsResponse {
    /// The client.
    pub(super) client: ClientResponse,
    /// Its secrets, the newest first, without the secrets themselves.
    pub(super) secrets: Vec<SecretResponse>,
    /// The issuer, which the application must know.
    pub(super) issuer: String,
}

impl Example for DetailsResponse {
    fn example() -> Self {
        let issuer = "https://id.example.com".to_owned();
        Self { client: ClientResponse::example(), secrets: vec![SecretResponse::example()], issuer }
    }
}

/// A new client with its secret, which is shown this once.
#[derive(Object)]
#[oai(rename = "NewClient", example)]
pub(super) struct NewClientResponse {
    /// The client.
    pub(super) client: ClientResponse,
    /// The secret; `null` for a public client.
    pub(super) client_secret: Option<String>,
    /// The issuer, which the application must know.
    pub(super) issuer: String,
}

impl Example for NewClientResponse {
    fn example() -> Self {
        let client_secret = Some("tsr_cs_7hQ2…".to_owned());
        let issuer = "https://id.example.com".to_owned();
        Self { client: ClientResponse::example(), client_secret, issuer }
    }
}

/// A rotation of a secret.
#[derive(Object)]
#[oai(rename = "ClientSecretRequest", example)]
pub(super) struct RotateRequest {
    /// The time for which the previous secrets are still accepted, in seconds, at most 90 days. Default: 0.
    #[oai(skip_serializing_if_is_none)]
    overlap: Option<u64>,
    /// A secret of at least 32 characters, instead of one that Tessera makes.
    #[oai(skip_serializing_if_is_none)]
    secret: Option<String>,
}

impl Example for RotateRequest {
    fn example() -> Self {
        Self { overlap: Some(604_800), secret: None }
    }
}

impl Input for RotateRequest {
    type Parsed = (u64, Option<ClientSecret>);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let overlap = fields.seconds("overlap")?.unwrap_or_default();
        let Some(text) = fields.optional("secret") else { return Some((overlap, None)) };
        match text.parse() {
            Ok(secret) => Some((overlap, Some(secret))),
            Err(fault) => {
                let fault: String = fault;
                fields.problem("value_error", "secret", &fault)
            }
        }
    }
}

/// A new secret, which is shown this once.
#[derive(Object)]
#[oai(rename = "NewClientSecret", example)]
pub(super) struct NewSecretResponse {
    /// The `client_id`.
    pub(super) client_id: String,
    /// The secret.
    pub(super) client_secret: String,
    /// The time until which the previous secrets are accepted, in seconds since the epoch.
    pub(super) previous_until: u64,
}

impl Example for NewSecretResponse {
    fn example() -> Self {
        let (client_id, client_secret) = ("grafana".to_owned(), "tsr_cs_7hQ2…".to_owned());
        Self { client_id, client_secret, previous_until: 1_795_911_472 }
    }
}

/// The claims about a user that a client would get with all its scopes.
#[derive(Object)]
#[oai(rename = "ClientClaims", example)]
pub(super) struct ClaimsResponse {
    /// Those of an ID token.
    pub(super) id_token: Value,
    /// Those of userinfo.
    pub(super) userinfo: Value,
    /// Those of an access token.
    pub(super) access_token: Value,
}

impl Example for ClaimsResponse {
    fn example() -> Self {
        let claims = json!({ "email": "ada@example.com", "email_verified": true });
        Self { id_token: claims.clone(), userinfo: claims, access_token: json!({}) }
    }
}

/// Declared clients and resources, as `CLIENTS_FILE` has them.
#[derive(Object)]
#[oai(rename = "ClientsDocument", example)]
pub(super) struct DocumentRequest {
    /// The definitions of the clients.
    #[oai(skip_serializing_if_is_none)]
    clients: Option<Vec<Value>>,
    /// The definitions of the resources.
    #[oai(skip_serializing_if_is_none)]
    resources: Option<Vec<Value>>,
    /// `true` to change nothing, and only say what would change.
    #[oai(skip_serializing_if_is_none)]
    check: Option<bool>,
}

impl Example for DocumentRequest {
    fn example() -> Self {
        let client =
            json!({ "client_id": "wiki", "redirect_uris": ["https://wiki.example.com/cb"] });
        Self { clients: Some(vec![client]), resources: None, check: Some(true) }
    }
}

impl Input for DocumentRequest {
    type Parsed = (serde_json::Map<String, Value>, bool);
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let check = fields.flag("check")?;
        let mut document = serde_json::Map::new();
        for name in ["clients", "resources"] {
            if fields.has(name) {
                document.insert(name.to_owned(), fields.objects(name, 1000)?.into());
            }
        }
        Some((document, check))
    }
}

/// A change that a document causes.
#[derive(Object)]
#[oai(rename = "ClientsChange", example)]
pub(super) struct ChangeResponse {
    /// `clients` or `resources`.
    list: String,
    /// The `client_id`, or the URI of the resource.
    id: String,
    /// `create`, `update`, `secret` (another one) or `disable` (it left the document).
    action: String,
}

impl Example for ChangeResponse {
    fn example() -> Self {
        let word = |word: &str| word.to_owned();
        Self { list: word("clients"), id: word("wiki"), action: word("create") }
    }
}

/// A fault in a document.
#[derive(Object)]
#[oai(rename = "ClientsFault", example)]
pub(super) struct FaultResponse {
    /// The path to the faulty part.
    path: Vec<Value>,
    /// The fault, and what to do.
    sentence: String,
}

impl Example for FaultResponse {
    fn example() -> Self {
        let path = vec!["clients".into(), 0.into(), "redirect_uris".into(), 0.into()];
        let sentence = "The redirect URI \"/callback\" is not an absolute URI, such as https://app.example.com/callback";
        Self { path, sentence: sentence.to_owned() }
    }
}

impl From<Misfit> for FaultResponse {
    fn from(misfit: Misfit) -> Self {
        let path = misfit.path().into_iter().map(|step| match step {
            Step::Member(name) => name.into(),
            Step::Item(place) => place.into(),
        });
        Self { path: path.collect(), sentence: misfit.fault.sentence }
    }
}

/// The result of applying a document. If it has faults, nothing was changed.
#[derive(Object)]
#[oai(rename = "ClientsOutcome", example)]
pub(super) struct OutcomeResponse {
    /// `true` if the changes were made.
    pub(super) applied: bool,
    /// The changes.
    pub(super) changes: Vec<ChangeResponse>,
    /// The faults.
    pub(super) faults: Vec<FaultResponse>,
}

impl Example for OutcomeResponse {
    fn example() -> Self {
        Self { applied: true, changes: vec![ChangeResponse::example()], faults: Vec::new() }
    }
}

/// A resource to create.
#[derive(Object)]
#[oai(example)]
pub(super) struct ResourceRequest {
    /// The absolute URI of the API, without a fragment.
    uri: String,
    /// The name that people see. Default: the URI.
    #[oai(skip_serializing_if_is_none)]
    name: Option<String>,
    /// The scopes that it has.
    #[oai(skip_serializing_if_is_none)]
    scopes: Option<Vec<String>>,
    /// `true` if clients that registered themselves can ask for it.
    #[oai(skip_serializing_if_is_none)]
    open: Option<bool>,
}

impl Example for ResourceRequest {
    fn example() -> Self {
        let (uri, scopes) = ("https://api.example.com".to_owned(), vec!["api:read".to_owned()]);
        Self { uri, name: Some("Orders".to_owned()), scopes: Some(scopes), open: None }
    }
}

impl Input for ResourceRequest {
    type Parsed = resource::Definition;
    const ACCEPTS: Accepts = Accepts::Json;

    fn read(fields: &mut Fields) -> Option<Self::Parsed> {
        let (uri, name) = (fields.required("uri"), fields.optional("name"));
        let (scopes, open) = (fields.scopes("scopes"), fields.flag("open"));
        let scopes = scopes?.unwrap_or_default().words();
        Some(resource::Definition { uri: uri?, name, scopes, open: open? })
    }
}

/// A resource: an API that accepts access tokens of clients.
#[derive(Object)]
#[oai(rename = "Resource", example)]
pub(super) struct ResourceResponse {
    /// The URI, which is the `aud` of access tokens.
    uri: String,
    /// The name that people see.
    name: String,
    /// `operator`, or `file` if `CLIENTS_FILE` or `CLIENTS` declares it.
    origin: String,
    /// The scopes that it has.
    scopes: Vec<String>,
    /// `true` if clients that registered themselves can ask for it.
    open: bool,
    /// `false` if no tokens for it are issued.
    enabled: bool,
    /// The time of creation, in seconds since the epoch.
    created: u64,
}

impl Example for ResourceResponse {
    fn example() -> Self {
        Self {
            uri: "https://api.example.com".to_owned(),
            name: "Orders".to_owned(),
            origin: "operator".to_owned(),
            scopes: vec!["api:read".to_owned()],
            open: false,
            enabled: true,
            created: 1_795_306_672,
        }
    }
}

impl From<Resource> for ResourceResponse {
    fn from(resource: Resource) -> Self {
        let Resource { id: _, uri, name, origin, scopes, is_open, is_active, created } = resource;
        let origin: &str = origin.into();
        Self {
            uri,
            name,
            origin: origin.to_owned(),
            scopes: scopes.words(),
            open: is_open,
            enabled: is_active,
            created: created.seconds(),
        }
    }
}

/// A page of resources.
#[derive(Object)]
#[oai(rename = "Resources", example)]
pub(super) struct ResourcesResponse {
    /// The resources, ordered by URI.
    pub(super) items: Vec<ResourceResponse>,
    /// The pagination cursor: send it as `after` to get the next page. `null` on the last page.
    pub(super) next: Option<String>,
}

impl Example for ResourcesResponse {
    fn example() -> Self {
        Self { items: vec![ResourceResponse::example()], next: None }
    }
}

impl From<Change> for ChangeResponse {
    fn from(change: Change) -> Self {
        let Change { list, id, action } = change;
        Self { list: list.name().to_owned(), id, action: action.to_owned() }
    }
}

impl OutcomeResponse {
    /// The result of a document that was applied, or with `check` only checked.
    pub(super) fn of(outcome: Outcome, check: bool) -> Self {
        let Outcome { changes, faults } = outcome;
        Self {
            applied: !check && faults.is_empty(),
            changes: changes.into_iter().map(ChangeResponse::from).collect(),
            faults: faults.into_iter().map(FaultResponse::from).collect(),
        }
    }
}
