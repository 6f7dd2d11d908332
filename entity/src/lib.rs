//! Tessera's tables, as SeaORM entities with typed ids.
//!
//! Rows never leave the server, so nothing here can be serialized. Times are milliseconds since the epoch.

pub mod api_token;
pub mod attempt;
pub mod audit;
pub mod audit_pending;
pub mod authorization_code;
pub mod browser_session;
pub mod client;
pub mod client_secret;
pub mod confirmation;
pub mod consent;
pub mod federated_identity;
pub mod feed;
pub mod former_email;
mod hidden;
mod id;
pub mod imported_user;
pub mod installation;
pub mod invitation;
pub mod job;
pub mod notice;
pub mod oauth_grant;
pub mod pending_email;
pub mod profile;
pub mod refusal;
pub mod replica;
pub mod resource;
pub mod revocation;
pub mod sample;
pub mod seen;
pub mod service;
pub mod session;
pub mod session_identity;
pub mod signing_key;
pub mod unclaimed;
pub mod upstream_refusal;
pub mod user;
pub mod user_search;

pub use hidden::Hidden;
pub use id::{
    ApiTokenId, ClientId, ClientSecretId, FederatedIdentityId, GrantId, InvitationId, JobId,
    PrincipalId, ReplicaId, ResourceId, ServiceId, SessionId, UserId,
};
