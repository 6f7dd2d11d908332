//! Clients: applications that sign people in through Tessera, and resources: APIs that accept their tokens.
//!
//! This module defines them and finds them. A client as a whole is checked when it is written (`definition.rs`), so its
//! readers can rely on it.

pub mod allowed;
pub(crate) mod apart;
pub mod authenticate;
pub mod claims;
pub mod definition;
pub mod document;
pub(crate) mod jobs;
pub mod recorded;
pub mod redirect;
pub mod refusal;
pub mod resource;
pub mod secret;
pub mod settings;
mod store;
pub(crate) mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use entity::client::Model;
use entity::{ClientId, GrantId};
use serde::Deserialize;
use strum::{EnumString, IntoStaticStr, VariantArray};
use tokio::sync::Notify;

pub use allowed::still_allowed;
pub use authenticate::{Credentials, authenticate, shown_id, two_methods};
pub use redirect::RedirectUri;
pub use refusal::{Checked, OauthError, Refusal};
pub use resource::Resource;
pub use secret::{ClientSecret, StoredSecret};
pub use settings::Settings;

use self::jobs::Uses;
use self::recorded::Recorded;
use crate::access::api_token::Guesses;
use crate::app::App;
use crate::base::cache::Cache;
use crate::base::clock::Timestamp;
use crate::base::config::{Config, ConfigError};
use crate::base::derived_key::{Seal, seals_of};
use crate::base::error::{Code, Error, Result};
use crate::base::listing::{Limit, Page};
use crate::base::scope::Scopes;
use crate::platform::notice::Kind;

/// The notice that clients, their secrets or resources were changed. Every replica then forgets the ones in its memory.
pub(crate) const CHANGED: Kind = Kind("client");

/// An application that signs people in through Tessera, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The id of its row.
    pub id: ClientId,
    /// Its `client_id` in the protocol.
    pub client_id: String,
    /// The name that people see.
    pub name: String,
    /// The source of its definition.
    pub origin: Origin,
    /// The kind of application, which decides about loopback redirects.
    pub application_type: ApplicationType,
    /// The ways in which it can authenticate.
    pub auth_method: AuthMethod,
    /// The URIs that a code can be sent to.
    pub redirect_uris: Vec<RedirectUri>,
    /// The URIs that a browser can go to after signing out.
    pub post_logout_uris: Vec<RedirectUri>,
    /// The grant types that it can use.
    pub grant_types: BTreeSet<GrantType>,
    /// The scopes that it can ask for.
    pub scopes: Scopes,
    /// Its settings.
    pub settings: Settings,
    /// The `grant_id` of the tokens that it gets for itself.
    pub own_grant: Option<GrantId>,
    /// `true` if it is accepted.
    pub is_active: bool,
    /// The time when it was made.
    pub created: Timestamp,
    /// The time when it was last changed.
    pub updated: Timestamp,
}

/// The source of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Origin {
    /// An operator made it with a command or an operation.
    Operator,
    /// `CLIENTS_FILE` or `CLIENTS` declares it. It is changed only there.
    File,
}

/// The kind of application.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Deserialize, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ApplicationType {
    /// An application on a web server, or a page in a browser.
    Web,
    /// An application on a device. Its loopback redirects match any port (RFC 8252, section 7.3).
    Native,
}

/// The way in which a client proves who it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Deserialize, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AuthMethod {
    /// A secret, by HTTP Basic or in the body.
    ClientSecret,
    /// A secret, by HTTP Basic alone.
    ClientSecretBasic,
    /// A secret, in the body alone.
    ClientSecretPost,
    /// Nothing: the client is public.
    None,
}

/// A grant type that a client can use at the token endpoint.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum GrantType {
    /// A code, for which somebody signed in.
    AuthorizationCode,
    /// A refresh token.
    RefreshToken,
    /// Nothing: the client gets a token for itself.
    ClientCredentials,
}

impl Client {
    /// The rules for its redirect URIs.
    pub fn rules(&self) -> redirect::Rules {
        redirect::Rules {
            native: self.application_type == ApplicationType::Native,
            insecure_http: self.settings.insecure_http,
        }
    }

    /// The command that gives this client some options, for the remedy of a refusal.
    pub fn remedy(&self, options: &str) -> String {
        let id = &self.client_id;
        match self.origin {
            Origin::Operator => format!("tessera client update {id} {options}"),
            Origin::File => format!(
                "CLIENTS_FILE declares {id}. Change it there as this command would, and run tessera client apply: \
                 tessera client update {id} {options}"
            ),
        }
    }

    /// Returns true if it has no secret, as an application on a device or a page in a browser.
    pub fn is_public(&self) -> bool {
        self.auth_method == AuthMethod::None
    }

    /// Returns true if it can use a grant type.
    pub fn can_use(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// Returns the registered URI that a presented one matches. They are compared byte for byte. Only a loopback URI of
    /// a native client matches with any port.
    pub fn redirect_uri(&self, presented: &str) -> Option<&RedirectUri> {
        let any_port = self.application_type == ApplicationType::Native;
        self.redirect_uris.iter().find(|registered| registered.matches(presented, any_port))
    }

    /// Returns the registered URI after signing out that a presented one matches, by the rules of redirect URIs.
    pub fn post_logout_uri(&self, presented: &str) -> Option<&RedirectUri> {
        let any_port = self.application_type == ApplicationType::Native;
        self.post_logout_uris.iter().find(|registered| registered.matches(presented, any_port))
    }

    /// Returns true if it can get tokens for a resource: one of its settings names the resource.
    pub fn can_ask_for(&self, resource: &Resource) -> bool {
        self.names(&resource.uri)
    }

    /// Returns true if one of its settings names a resource that it can get tokens for.
    pub fn names(&self, uri: &str) -> bool {
        let Settings { resources, audience, .. } = &self.settings;
        resources.iter().chain(audience).any(|known| known == uri)
    }
}

impl TryFrom<Model> for Client {
    type Error = Error;

    fn try_from(row: Model) -> Result<Self> {
        let Model {
            id,
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
            own_grant,
            is_active,
            created_at,
            updated_at,
        } = row;
        let fault = |column: &str| {
            let cause = format!("the client {client_id} has an invalid value in `{column}`");
            Error::because(Code::InternalServerError, cause)
        };
        let grants = grant_types.split_whitespace().map(str::parse).collect::<Result<_, _>>();
        Ok(Self {
            origin: origin.parse().map_err(|_| fault("origin"))?,
            application_type: application_type.parse().map_err(|_| fault("application_type"))?,
            auth_method: auth_method.parse().map_err(|_| fault("auth_method"))?,
            redirect_uris: redirect::from_json(&redirect_uris)
                .ok_or_else(|| fault("redirect_uris"))?,
            post_logout_uris: redirect::from_json(&post_logout_uris)
                .ok_or_else(|| fault("post_logout_uris"))?,
            grant_types: grants.map_err(|_| fault("grant_types"))?,
            settings: serde_json::from_str(&settings).map_err(|_| fault("settings"))?,
            scopes: Scopes::parse(&scopes),
            created: Timestamp::from_millis(created_at),
            updated: Timestamp::from_millis(updated_at),
            id,
            client_id,
            name,
            own_grant,
            is_active,
        })
    }
}

/// The digest by which clients are cached.
type Key = [u8; 32];

fn key(client_id: &str) -> Key {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, client_id.as_bytes()).as_ref());
    bytes
}

/// The clients that this replica read within the last second, wrong secrets by address, and what waits to be written.
#[derive(Debug)]
pub struct State {
    /// Clients by `client_id`, also those that do not exist, so that a look-up costs the same for both.
    cache: Cache<Key, Option<Arc<Client>>>,
    /// Resources by URI.
    resources: Cache<Key, Option<Arc<Resource>>>,
    guesses: Guesses,
    uses: Uses,
    recorded: Recorded,
    /// The keys that cover references.
    seals: Vec<Seal>,
    /// Wakes the job that makes the keys of clients.
    changed: Notify,
}

impl State {
    /// A state that knows no client.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the secret cannot be used.
    pub(crate) fn of(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            cache: Cache::default(),
            resources: Cache::default(),
            guesses: Guesses::default(),
            uses: Uses::default(),
            recorded: Recorded::default(),
            seals: seals_of(&config.signing_secret()?, config, "tessera refusals of clients"),
            changed: Notify::default(),
        })
    }

    /// See [`Cache::looked_up`]: of clients, and of resources.
    pub(crate) fn looked_up(&self) -> ([u64; 2], [u64; 2]) {
        (self.cache.looked_up(), self.resources.looked_up())
    }
}

/// Returns the client with a `client_id`, as the database had it within the last second. It may be disabled.
///
/// # Errors
///
/// If the database does not answer.
pub async fn find(app: &App, client_id: &str) -> Result<Option<Arc<Client>>> {
    let key = key(client_id);
    if let Some(known) = app.client.cache.get(key) {
        return Ok(known);
    }
    let since = app.client.cache.since();
    // PostgreSQL has no text with U+0000.
    let row = match client_id.contains('\0') {
        true => None,
        false => store::find_by_client_id(app.database.reader(), client_id).await?,
    };
    let client = row.map(Client::try_from).transpose()?.map(Arc::new);
    app.client.cache.put(key, client.clone(), since);
    Ok(client)
}

/// Returns the client with this id of its row, as a grant or a code names it.
///
/// # Errors
///
/// If the database does not answer.
pub async fn by_id(app: &App, id: ClientId) -> Result<Option<Client>> {
    store::find(app.database.reader(), id).await?.map(Client::try_from).transpose()
}

/// Forgets the clients and resources in memory, because some were changed.
///
/// # Errors
///
/// Never.
pub(crate) async fn forget(app: &App) -> Result<()> {
    app.client.cache.forget_all();
    app.client.resources.forget_all();
    app.client.changed.notify_one();
    Ok(())
}

/// Returns a page of the clients, ordered by `client_id`.
///
/// # Errors
///
/// If the database does not answer.
pub async fn list(app: &App, after: Option<String>, limit: u64) -> Result<Page<Client>> {
    let limit = Limit::new(limit, 100);
    let rows = store::list(app.database.reader(), after, limit.rows()).await?;
    limit.page(rows).try_map(Client::try_from)
}

/// Returns all clients with an origin.
///
/// # Errors
///
/// If the database does not answer.
pub async fn of_origin(app: &App, origin: Origin) -> Result<Vec<Client>> {
    let rows = store::of_origin(app.database.reader(), origin.into()).await?;
    rows.into_iter().map(Client::try_from).collect()
}

/// Returns the secrets of a client with their beginnings, the newest first, without the secrets themselves.
///
/// # Errors
///
/// If the database does not answer.
pub async fn secrets(app: &App, client: &Client) -> Result<Vec<(String, StoredSecret)>> {
    let rows = store::secrets(app.database.reader(), client.id).await?;
    Ok(rows.iter().map(|row| (row.prefix.clone(), row.into())).collect())
}
